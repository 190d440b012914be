// What the controllers do and which locks they trade, from their `braid/load` documents: `controller locks`
// and `top`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace braid::cli {

/// One document as text: locks and hot units of one controller.
std::string locks_text(std::string_view load_document);
/// The name of the controller that a document is of; empty if it is none.
std::string controller_of_load(std::string_view load_document);

/// Two looks at the same controllers, one document each: what happened between them, per second, as the
/// document `braid/top`. Who is missing in one of them, or was started between, is left out.
std::string top_document(const std::vector<std::string>& before, const std::vector<std::string>& now);
std::string top_text(std::string_view top_document);

}  // namespace braid::cli
