"""What a command shows on a terminal: styled text, and a table that is updated in place."""
