# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors
"""Just enough reading of clang-formatted C++: the text without comments, and its blocks."""

import dataclasses
import functools
import re

_LITERAL_OR_COMMENT = re.compile(
    r"""//[^\n]*
      | /\*.*?\*/
      | R"(?P<tag>[^\s()\\]{0,16})\(.*?\)(?P=tag)"
      | "(?:\\.|[^"\\\n])*"
      | (?<![0-9A-Za-z_])'(?:\\.|[^'\\\n])+'""", re.S | re.X)
_PREPROCESSOR = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.M)
_INCLUDE = re.compile(r'^#include ([<"])([^>"]+)[>"]')


def _blank(match):
    """Keeps line numbers; quotes stand for a literal, so that it stays an operand."""
    text = match.group(0)
    return ('""' if text[0] in "\"R'" else "") + "\n" * text.count("\n")


@functools.cache
def strip(text):
    """The code alone: comments, literals and preprocessor lines blanked, lines where they were."""
    code = _LITERAL_OR_COMMENT.sub(_blank, text)
    return _PREPROCESSOR.sub(lambda m: "\n" * m.group(0).count("\n"), code)


def includes(text):
    """(line, '<' or '"', target) of each #include."""
    for number, line in enumerate(text.splitlines(), 1):
        match = _INCLUDE.match(line)
        if match:
            yield number, match.group(1), match.group(2)


@dataclasses.dataclass
class Block:
    kind: str   # namespace, class, function, other
    head: str   # what stands before its brace
    first: int  # line of the head's first word
    last: int = 0


_TEMPLATE = re.compile(r"^template\s*<(?:[^<>]|<(?:[^<>]|<[^<>]*>)*>)*>\s*")
_ACCESS = re.compile(r"^(?:(?:public|private|protected)\s*:\s*)+")


def _clean(head):
    head = _ACCESS.sub("", " ".join(head.split()))
    while _TEMPLATE.match(head):
        head = _TEMPLATE.sub("", head)
    return head


def _classify(head, inside):
    if any(block.kind in ("function", "other") for block in inside):
        return "other"
    if re.match(r'(inline )?namespace\b|extern ""$', head):
        return "namespace"
    if re.match(r"(typedef )?(class|struct|union|enum)\b", head) and not head.endswith(")"):
        return "class"
    return "function" if "(" in head else "other"


@functools.cache
def parse(text):
    """(blocks, statements): every block with its lines; and (line, head, enclosing class's head)
    of each statement or function head that stands directly in a class."""
    blocks, members, stack = [], [], []
    head, first, line, depth = "", 0, 1, 0
    for char in strip(text):
        if char == "\n":
            line += 1
        if depth == 0 and char in ";{}":
            cleaned = _clean(head)
            if char != "}" and stack and stack[-1].kind == "class" and cleaned:
                members.append((first, cleaned, stack[-1].head))
            if char == "{":
                stack.append(Block(_classify(cleaned, stack), cleaned, first or line))
            elif char == "}" and stack:
                stack[-1].last = line
                blocks.append(stack.pop())
            head, first = "", 0
            continue
        # Braces within parentheses are arguments: no block of ours.
        depth += (char in "([") - (char in ")]") if not _inside_function(stack) else 0
        if not first and not char.isspace():
            first = line
        head += char
    return blocks, members


def _inside_function(stack):
    return any(block.kind in ("function", "other") for block in stack)


def arguments(head):
    """How many arguments the first parenthesis of `head` lists; None if it is never closed."""
    start = head.find("(")
    depth, count, any_text = 0, 1, False
    for char in head[start + 1:]:
        if char in "([{<":
            depth += 1
        elif char in ")]}>":
            if char == ")" and depth == 0:
                return count if any_text else 0
            depth -= 1
        elif char == "," and depth == 0:
            count += 1
        if not char.isspace():
            any_text = True
    return None
