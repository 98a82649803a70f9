#include "tools/gmc/Options.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <cmath>
#include <unistd.h>

namespace gmc {

void addModelOptions(CLI::App &app, ModelOptions &options) {
  app.add_option("MODEL", options.model, "ONNX file")->required();
  app.add_option("--batch", options.batch, "samples of one optimizer step (default 32, or what the file fixes)")
      ->check(CLI::PositiveNumber);
  app.add_option("--dim", options.dims, "value of a symbolic dimension, repeatable")
      ->type_name("NAME=VALUE")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->expected(1)
      ->allow_extra_args(false);
  app.add_option("--loss", options.loss, "auto, cross-entropy, bce, mse, l1 or output, each with an optional :OUTPUT");
  app.add_option("--train", options.train, "only initializers whose name this expression matches are trained")
      ->type_name("REGEX");
  app.add_option("--freeze", options.freeze, "initializers whose name this expression matches are not trained")
      ->type_name("REGEX");
  app.add_option("--init", options.init, "keep, kaiming, xavier or normal:STD");
}

llvm::Expected<ImportOptions> toImportOptions(const ModelOptions &options, const OnnxModel &model) {
  ImportOptions result;
  for (llvm::StringRef dim : options.dims) {
    auto [name, text] = dim.rsplit('=');
    int64_t value;
    if (name.empty() || text.getAsInteger(10, value) || value <= 0)
      return inputError("--dim takes NAME=VALUE with a positive number, not '" + dim + "'");
    result.dims[name] = value;
  }
  llvm::StringRef kind = llvm::StringRef(options.loss).split(':').first;
  if (!llvm::is_contained({"auto", "cross-entropy", "bce", "mse", "l1", "output"}, kind))
    return inputError("--loss takes auto, cross-entropy, bce, mse, l1 or output, not '" + kind + "'");
  auto output = lossOutput(model, options.loss);
  if (!output)
    return output.takeError();
  result.lossOutputs.push_back(*output);
  result.train = options.train;
  result.freeze = options.freeze;
  auto init = InitOptions::parse(options.init);
  if (!init)
    return init.takeError();
  result.init = *init;
  return result;
}

llvm::Expected<int64_t> effectiveBatch(const ModelOptions &options, const OnnxModel &model) {
  auto fixed = model.fixedBatch();
  if (fixed && options.batch && *fixed != *options.batch)
    return inputError("--batch=" + llvm::Twine(*options.batch) + ", but the file fixes the batch at " +
                      llvm::Twine(*fixed));
  return fixed ? *fixed : options.batch.value_or(32);
}

llvm::Expected<int64_t> parseSize(llvm::StringRef text) {
  size_t end = text.find_first_not_of("0123456789.");
  llvm::StringRef digits = text.take_front(end), unit = end == llvm::StringRef::npos ? "" : text.drop_front(end).trim();
  static const std::pair<const char *, double> units[] = {
      {"", 1},     {"B", 1},          {"kB", 1e3}, {"KB", 1e3},         {"MB", 1e6},           {"GB", 1e9},
      {"TB", 1e12}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
  double number;
  for (auto [name, factor] : units)
    if (unit == name && !digits.empty() && !digits.getAsDouble(number)) {
      double bytes = number * factor;
      if (bytes == std::floor(bytes) && bytes < 0x1p62)
        return static_cast<int64_t>(bytes);
    }
  return inputError("'" + text + "' is no size: write 4GB, 512MiB or a number of bytes");
}

void addUnavailableOptions(CLI::App &app, llvm::ArrayRef<const char *> names) {
  for (const char *name : names) {
    std::string option = name;
    app.add_option_function<std::string>(
           name,
           [option](const std::string &) { throw CLI::ValidationError(option, "is not available in this release"); })
        ->expected(0, 1)
        ->group("");
  }
}

int usageError(const llvm::Twine &message) {
  llvm::errs() << "gmc: error: " << message << "\n";
  return ExitUsage;
}
int usageError(llvm::Error error) { return usageError(llvm::toString(std::move(error))); }

std::unique_ptr<OnnxModel> loadModel(llvm::StringRef path) {
  auto model = OnnxModel::load(path);
  if (model)
    return std::move(*model);
  usageError(model.takeError());
  return nullptr;
}

llvm::Error writeFileAtomically(llvm::StringRef path, llvm::function_ref<llvm::Error(llvm::raw_ostream &)> write) {
  if (path == "-")
    return write(llvm::outs());
  llvm::SmallString<256> temporary(path);
  int fd;
  auto failed = [&](const llvm::Twine &what, std::error_code code) {
    return inputError("cannot write '" + path + "': " + what + ": " + code.message());
  };
  if (auto code = llvm::sys::fs::createUniqueFile(path + ".%%%%%%.tmp", fd, temporary,
                                                  llvm::sys::fs::OF_None,
                                                  llvm::sys::fs::all_read | llvm::sys::fs::all_write))
    return failed("creating a file beside it", code);
  llvm::Error error = llvm::Error::success();
  {
    llvm::raw_fd_ostream stream(fd, /*shouldClose=*/false);
    error = write(stream);
    stream.flush();
    if (!error && stream.has_error())
      error = failed("writing", stream.error());
    stream.clear_error();
  }
  if (!error && fsync(fd) != 0)
    error = failed("flushing", std::error_code(errno, std::generic_category()));
  close(fd);
  if (!error)
    if (auto code = llvm::sys::fs::rename(temporary, path))
      error = failed("renaming", code);
  if (error)
    llvm::sys::fs::remove(temporary);
  return error;
}

} // namespace gmc
