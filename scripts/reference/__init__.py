"""The pages of docs/ that are written from the code. Each module makes one: `page()` returns its text."""
