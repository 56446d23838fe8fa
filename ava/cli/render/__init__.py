"""Results as text, tables, JSON and Markdown."""
