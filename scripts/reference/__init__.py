"""The pages of docs/ that are generated from the code. Each module has one page; `page()` returns its text."""
