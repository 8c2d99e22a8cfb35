// Whether bytes are UTF-8. All text in files is; protobuf and JSON would refuse the rest later, and
// less kindly.
#pragma once

#include <string_view>

namespace rondo {

/// True when `text` is well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
/// Source: The Unicode Standard, table 3-7.
bool is_utf8(std::string_view text);

}  // namespace rondo
