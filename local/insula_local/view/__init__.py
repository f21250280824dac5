"""The output for the user: `plain` lines, or `live` on a terminal. Writing never blocks."""
