"""The parts of ``train_small_lm.py``: options, data, model, control, files, evaluation, display."""
