"""expect.py CODE COMMAND...: runs the command, prints its stdout and stderr, fails unless it exits with CODE."""
import subprocess
import sys

run = subprocess.run(sys.argv[2:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
sys.stdout.write(run.stdout)
if run.returncode != int(sys.argv[1]):
    sys.exit(f"exit code {run.returncode}, expected {sys.argv[1]}")
