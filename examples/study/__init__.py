"""The study: the same small model and text under different losses, measured on what no loss setting changes."""
