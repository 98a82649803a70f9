#include "runtime/data/Resample.h"

#include <algorithm>
#include <cmath>

namespace gmc::rt {

std::vector<FilterTap> triangleTaps(int inSize, double start, double length, int outSize) {
  double scale = length / outSize, support = std::max(scale, 1.0);
  std::vector<FilterTap> taps(static_cast<size_t>(outSize));
  for (int o = 0; o < outSize; ++o) {
    double center = start + (o + 0.5) * scale;
    int from = std::clamp(static_cast<int>(std::floor(center - support)), 0, inSize - 1);
    int to = std::clamp(static_cast<int>(std::ceil(center + support)), from + 1, inSize);
    FilterTap &tap = taps[static_cast<size_t>(o)];
    double sum = 0;
    std::vector<double> weights;
    for (int i = from; i < to; ++i) {
      weights.push_back(std::max(0.0, 1 - std::fabs(i + 0.5 - center) / support));
      sum += weights.back();
    }
    // Only outside the picture can all weights vanish; its edge pixel then stands in.
    tap.first = from;
    for (double weight : weights)
      tap.weights.push_back(static_cast<float>(sum > 0 ? weight / sum : 1.0 / static_cast<double>(weights.size())));
  }
  return taps;
}

RowResampler::RowResampler(int inWidth, int inHeight, int channels, double x, double y, double width, double height,
                           int outWidth, int outHeight, float *out)
    : columns(triangleTaps(inWidth, x, width, outWidth)), rows(triangleTaps(inHeight, y, height, outHeight)),
      channels(channels), outWidth(outWidth), outHeight(outHeight), first(inHeight), end(0), out(out),
      line(static_cast<size_t>(outWidth)) {
  for (const FilterTap &tap : rows) {
    first = std::min(first, tap.first);
    end = std::max(end, tap.first + static_cast<int>(tap.weights.size()));
  }
  std::fill(out, out + static_cast<size_t>(channels) * outWidth * outHeight, 0.0f);
}

void RowResampler::addRow(int y, const uint8_t *pixels) {
  auto endOf = [](const FilterTap &tap) { return tap.first + static_cast<int>(tap.weights.size()); };
  while (nextOut < outHeight && endOf(rows[static_cast<size_t>(nextOut)]) <= y)
    ++nextOut;
  for (int c = 0; c < channels; ++c) {
    bool filtered = false;
    for (int o = nextOut; o < outHeight && rows[static_cast<size_t>(o)].first <= y; ++o) {
      const FilterTap &row = rows[static_cast<size_t>(o)];
      if (endOf(row) <= y)
        continue;
      if (!filtered) {
        for (int x = 0; x < outWidth; ++x) {
          const FilterTap &tap = columns[static_cast<size_t>(x)];
          float sum = 0;
          for (size_t i = 0; i < tap.weights.size(); ++i)
            sum += tap.weights[i] * pixels[(static_cast<size_t>(tap.first) + i) * channels + c];
          line[static_cast<size_t>(x)] = sum;
        }
        filtered = true;
      }
      float weight = row.weights[static_cast<size_t>(y - row.first)] / 255.0f;
      float *target = out + (static_cast<size_t>(c) * outHeight + o) * outWidth;
      for (int x = 0; x < outWidth; ++x)
        target[x] += weight * line[static_cast<size_t>(x)];
    }
  }
}

} // namespace gmc::rt
