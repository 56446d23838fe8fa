"""Reports: one self-contained HTML file, of a configuration and its dry run, or of training logs. Free of torch.

``html`` writes markup and escapes everything else · ``page`` is the frame (``page.css``, ``page.js``) · ``numbers``,
``axis``, ``tables``, ``chart``, ``bars``, ``heat`` are its parts · ``measured`` reads the figures of a dry run ·
``preset`` and ``figures`` are the page of a configuration · ``log`` reads training logs, and is their page.

A page asks for nothing from elsewhere, and is the same for the same input.
"""
