# lit configuration of the IR tests: RUN lines of .mlir files, checked by FileCheck or -verify-diagnostics.
import lit.formats

config.name = "gmc"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir"]
config.test_source_root = config.gmc_source_dir + "/test"
config.test_exec_root = config.gmc_binary_dir + "/test/lit"
config.environment["PATH"] = ":".join(
    [config.gmc_binary_dir + "/bin", config.llvm_tools_dir, config.environment.get("PATH", "")])
