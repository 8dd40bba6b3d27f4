"""Templates: what is a column, what is a brace, and what is an error."""

import pickle

import pytest

from batchkit_tasks.errors import PromptError
from batchkit_tasks.prompts import Placeholder, Template


def test_text_and_columns_are_told_apart():
    template = Template.parse("Classify: {title}\n{body} ({title})")

    assert template.parts == (
        "Classify: ",
        Placeholder("title"),
        "\n",
        Placeholder("body"),
        " (",
        Placeholder("title"),
        ")",
    )
    assert template.columns == ("title", "body")


@pytest.mark.parametrize(
    "name",
    ["a b", " a", "a.b", "a[0]", "a:>10", "a!r", 'a"b', "a\\b", "ä\u2028😀", "0", "\n"],
)
def test_a_name_is_taken_letter_by_letter(name: str):
    template = Template.parse(f"x{{{name}}}y")

    assert template.parts == ("x", Placeholder(name), "y")


def test_doubled_braces_are_braces():
    template = Template.parse('{{"a": {a}}} {{}} {{b}}')

    assert template.parts == ('{"a": ', Placeholder("a"), "} {} {b}")


def test_braces_may_stand_directly_around_a_column():
    assert Template.parse("{{{a}}}").parts == ("{", Placeholder("a"), "}")


@pytest.mark.parametrize("text", ["", "plain", "äöü"])
def test_a_text_without_braces_has_no_columns(text: str):
    template = Template.parse(text)

    assert template.columns == ()
    assert "".join(template.literals) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ab{c", r"the \{ at character 2 is not closed"),
        ("{", "character 0 is not closed"),
        ("a}b", r"the \} at character 1 closes nothing; write \}\} for a brace"),
        ("{{a}", "character 3 closes nothing"),
        ("ab {} c", r"the \{\} at character 3 names no column"),
        ("{a{b}", "character 0 is not closed.*must be renamed"),
        ("{a{{b}}}", "character 0 is not closed"),
        ("ok \ud83d!", "character 3 is half of a surrogate pair"),
    ],
)
def test_a_template_that_cannot_be_read_says_where_and_what_to_do(text: str, says: str):
    with pytest.raises(PromptError, match=says) as caught:
        Template.parse(text, "system prompt")

    assert "The system prompt cannot be used" in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
