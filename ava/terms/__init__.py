"""The terms of the loss, one file each; they import nothing of the project but its errors."""
