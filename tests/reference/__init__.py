"""Float64 references of every term, written from `losses.md` alone: loops over positions, slow and plain."""
