"""``dry-run``: build the loss, run it on synthetic tensors, and measure.

``fill`` supplies small sizes that a configuration lacks · ``scenarios`` draws the tensors · ``decompose`` takes the
loss apart into its terms · ``measure`` compiles it and times it · ``judge`` turns figures into findings (``rules``
documents them) · ``report`` holds the result. Only ``scenarios``, ``decompose`` and ``measure`` import torch.
"""
