// Sources of pictures.
#ifndef GMC_DATA_IMAGES_H
#define GMC_DATA_IMAGES_H

#include "runtime/data/Source.h"

namespace gmc::rt {

/// A folder of class folders of JPEG/PNG; classes are numbered in the order of their names. Without labels, a folder
/// of pictures will do.
std::unique_ptr<Source> openFolder(const std::string &path, const SourceOptions &options);

/// A single picture, for prediction.
std::unique_ptr<Source> openPicture(const std::string &path, const SourceOptions &options);

/// WebDataset shards: `pattern` may hold one {000..099}. Members of the same name up to the first dot of their base
/// name are a sample: KEY.jpg|jpeg|png and KEY.cls, the class number in decimal.
std::unique_ptr<Source> openShards(const std::string &pattern, const SourceOptions &options);

/// .jpg, .jpeg or .png, in any case.
bool isPictureName(const std::string &name);

/// Throws Error(ExitUsage) unless the label is one integer.
void checkClassLabel(const Slot &label);

} // namespace gmc::rt

#endif
