NAME = "found by python_path"
