// A folder of class folders of pictures. The listing is spooled to a temporary file: a million names would else be
// tens of megabytes of host memory.
#include "gmc/Error.h"
#include "runtime/data/Images.h"
#include "runtime/data/Preprocess.h"

#include <algorithm>
#include <filesystem>

namespace gmc::rt {
namespace {

namespace fs = std::filesystem;

struct Record {
  uint64_t offset; ///< of the path among the names
  uint32_t length;
  int32_t label;
};

/// Pictures directly inside `folder`, sorted.
std::vector<std::string> pictures(const fs::path &folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (isPictureName(it->path().filename().string()) && !it->is_directory(error))
      names.push_back(it->path().filename().string());
  if (error)
    throw usageError("cannot list " + folder.string() + ": " + error.message());
  std::sort(names.begin(), names.end());
  return names;
}

class FolderSource : public Source {
public:
  FolderSource(const std::string &root, const SourceOptions &options)
      : root(root), pair(singleInputAndLabel(options, "a folder of pictures")),
        preprocess(options.augment, options.slots[pair.input]), names(File::temporary()), records(File::temporary()) {
    if (pair.label >= 0) {
      label = options.slots[pair.label];
      checkClassLabel(label);
    }
    std::vector<std::string> classes;
    std::error_code error;
    for (fs::directory_iterator it(root, error), end; !error && it != end; it.increment(error))
      if (it->is_directory(error))
        classes.push_back(it->path().filename().string());
    std::sort(classes.begin(), classes.end());
    for (size_t c = 0; c < classes.size(); ++c)
      for (const std::string &name : pictures(fs::path(root) / classes[c]))
        add(classes[c] + "/" + name, static_cast<int32_t>(c));
    if (count == 0 && !options.needLabels)
      for (const std::string &name : pictures(root))
        add(name, 0);
    if (count == 0)
      throw usageError(root + " holds no pictures: a folder with one folder per class, of .jpg, .jpeg or .png files, " +
                       "is expected");
    numClasses = classes.size();
  }

  int64_t size() const override { return count; }

  void load(int64_t index, char *const *tensors, LoadContext &context) const override {
    int32_t target = 0;
    std::string path = pathOf(index, target);
    File file;
    try {
      file = File(path);
    } catch (const Error &error) {
      throw SampleError(error.what());
    }
    preprocess.load({&file, 0, file.size()}, index, tensors[pair.input], context);
    if (pair.label >= 0)
      convertElements(&target, GMC_INT32, tensors[pair.label], label.dtype, 1);
  }

  std::string name(int64_t index) const override {
    int32_t target;
    return pathOf(index, target);
  }
  std::string fingerprint() const override {
    return "pictures " + std::to_string(count) + " classes " + std::to_string(numClasses) + " names " +
           std::to_string(namesHash);
  }
  std::string preprocessing() const override { return preprocess.evaluation(); }

private:
  void add(const std::string &path, int32_t target) {
    Record record{nameBytes, static_cast<uint32_t>(path.size()), target};
    names.append(path.data(), path.size());
    records.append(&record, sizeof record);
    nameBytes += path.size();
    ++count;
    for (char c : path)
      namesHash = mix64(namesHash ^ static_cast<unsigned char>(c));
  }

  std::string pathOf(int64_t index, int32_t &target) const {
    Record record;
    records.readAt(static_cast<uint64_t>(index) * sizeof record, &record, sizeof record);
    std::string path(record.length, '\0');
    names.readAt(record.offset, path.data(), path.size());
    target = record.label;
    return root + "/" + path;
  }

  std::string root;
  SlotPair pair;
  Preprocess preprocess;
  Slot label;
  File names, records;
  uint64_t nameBytes = 0, namesHash = 0;
  int64_t count = 0;
  size_t numClasses = 0;
};

class OnePicture : public Source {
public:
  OnePicture(const std::string &path, const SourceOptions &options)
      : file(path), pair(singleInputAndLabel(options, "a picture")),
        preprocess(options.augment, options.slots[pair.input]) {}
  int64_t size() const override { return 1; }
  void load(int64_t index, char *const *tensors, LoadContext &context) const override {
    preprocess.load({&file, 0, file.size()}, index, tensors[pair.input], context);
  }
  std::string name(int64_t) const override { return file.path(); }
  std::string fingerprint() const override { return "picture"; }
  std::string preprocessing() const override { return preprocess.evaluation(); }

private:
  File file;
  SlotPair pair;
  Preprocess preprocess;
};

} // namespace

bool isPictureName(const std::string &name) {
  auto dot = name.rfind('.');
  if (dot == std::string::npos)
    return false;
  std::string extension = name.substr(dot + 1);
  for (char &c : extension)
    c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return extension == "jpg" || extension == "jpeg" || extension == "png";
}

void checkClassLabel(const Slot &label) {
  if (isFloatType(label.dtype) || label.elements() != 1)
    throw usageError("pictures are labelled with one class number; '" + label.name + "' wants " +
                     dtypeName(label.dtype) + " " + label.shape());
}

std::unique_ptr<Source> openFolder(const std::string &path, const SourceOptions &options) {
  return std::make_unique<FolderSource>(path, options);
}

std::unique_ptr<Source> openPicture(const std::string &path, const SourceOptions &options) {
  return std::make_unique<OnePicture>(path, options);
}

} // namespace gmc::rt
