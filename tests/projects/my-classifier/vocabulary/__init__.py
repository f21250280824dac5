WORDS = ["hello", "world"]
