"""crash.py FOLDER: sends SIGSEGV to a running gmc; it must exit with 4 and leave a reproducer that names the command."""
import os
import signal
import subprocess
import sys
import time

os.makedirs(sys.argv[1], exist_ok=True)
os.chdir(sys.argv[1])
if not os.path.exists("pipe.onnx"):
    os.mkfifo("pipe.onnx")
process = subprocess.Popen(["gmc", "info", "pipe.onnx"], stderr=subprocess.PIPE, text=True)
time.sleep(3)  # by then it waits for a writer of the pipe
process.send_signal(signal.SIGSEGV)
_, stderr = process.communicate(timeout=30)
print(stderr)
with open(f"gmc-internal-error-{process.pid}.txt") as file:
    print(file.read())
sys.exit(0 if process.returncode == 4 else 1)
