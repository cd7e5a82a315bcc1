"""Writes "line 1", "line 2" … up to the number in $STORAGE_DIR/wanted, which grows; every tenth to stderr if asked."""
import os
import sys
import time

path = os.environ["STORAGE_DIR"] + "/wanted"
both = os.environ.get("BOTH") == "1"
said = 0
while True:
    try:
        with open(path) as file:
            wanted = int(file.read() or 0)
    except OSError:
        wanted = 0
    while said < wanted:
        piece = range(said + 1, min(wanted, said + 200) + 1)
        for number in piece:
            stream = sys.stderr if both and number % 10 == 0 else sys.stdout
            stream.write(f"line {number}\n")
        sys.stdout.flush()
        sys.stderr.flush()
        said = piece[-1]
    time.sleep(0.02)
