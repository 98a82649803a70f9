// Separable resampling of a picture that arrives row by row.
#ifndef GMC_DATA_RESAMPLE_H
#define GMC_DATA_RESAMPLE_H

#include <cstdint>
#include <vector>

namespace gmc::rt {

/// Weights of one output position over consecutive input positions.
struct FilterTap {
  int first;
  std::vector<float> weights;
};

/// Triangle filter from [start, start + length) of `inSize` positions to outSize positions: support 1 input pixel, or
/// the reduction length / outSize where that is more. Weights of each output sum to 1; taps outside are left out.
std::vector<FilterTap> triangleTaps(int inSize, double start, double length, int outSize);

class RowResampler {
public:
  /// `out` is [channels][outHeight][outWidth] and is zeroed here.
  RowResampler(int inWidth, int inHeight, int channels, double x, double y, double width, double height, int outWidth,
               int outHeight, float *out);

  /// The rows that contribute: [firstRow, endRow). Others need not be decoded.
  int firstRow() const { return first; }
  int endRow() const { return end; }

  /// Adds input row `y`, interleaved channels, values 0..255. Rows come in ascending order.
  void addRow(int y, const uint8_t *pixels);

private:
  std::vector<FilterTap> columns, rows;
  int channels, outWidth, outHeight, first, end, nextOut = 0;
  float *out;
  std::vector<float> line;
};

} // namespace gmc::rt

#endif
