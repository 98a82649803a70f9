# lit configuration: RUN lines of .mlir files and of ONNX models written as text (.textproto), checked by FileCheck or
# -verify-diagnostics.
import os
import sys

import lit.formats

config.name = "gmc"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test", ".textproto"]
config.excludes = ["Inputs"]
config.test_source_root = config.gmc_source_dir + "/test"
config.test_exec_root = config.gmc_binary_dir + "/test/lit"
config.environment["PATH"] = ":".join(
    [config.gmc_binary_dir + "/bin", config.gmc_binary_dir + "/test", config.llvm_tools_dir, config.environment.get("PATH", "")])
# Text to a binary model: `%encode < %s > %t.onnx`. Comments in the text hold the RUN and CHECK lines.
config.substitutions.append(
    ("%encode", "protoc --encode=onnx.ModelProto --proto_path=/usr/include /usr/include/onnx/onnx.proto"))
config.substitutions.append(("%python", sys.executable))
shared = os.path.join(config.gmc_source_dir, "..", "shared")
config.substitutions.append(("%shared", shared))
if os.path.isdir(os.path.join(shared, "data")):
    config.available_features.add("shared-data")
