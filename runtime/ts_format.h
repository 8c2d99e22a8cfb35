// The `.ts` text format of the time-series classification archive: '@' lines that describe the
// data, then one case a line,
//
//   1.5,1.25,0.75:-0.5,0,0.25:7      two channels of three frames, class "7"
//
// channels parted by ':', frames by ',', the class last. Whatever cannot be read is refused with
// the file and line where it stands; nothing is guessed.
// Source: https://www.timeseriesclassification.com, which hosts the archive.
#pragma once

#include <string>
#include <string_view>

#include <rondo/runtime/data.h>

namespace rondo {

/// Reads a file of labelled cases: sequences [T,I] with I = the number of channels, classes in the
/// order of the line "@classLabel". Errors `ts.*` name the line: no "@data", no classes, a number
/// that is none, NaN or too large for f32, a value that is missing ('?'), channels of different
/// lengths, another number of channels than before or than "@dimensions" says, a class that
/// "@classLabel" lacks, and time stamps, which are not supported.
SequenceDataset read_ts(const std::string& path);

/// The same from memory; errors say `name` where they would say the path.
SequenceDataset parse_ts(std::string_view text, const std::string& name);

}  // namespace rondo
