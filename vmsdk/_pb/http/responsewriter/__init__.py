# Made by proto/generate.py from proto/: edit that instead.
