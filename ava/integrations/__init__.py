"""One file per trainer: what it does to a loss, and the call that makes it right."""
