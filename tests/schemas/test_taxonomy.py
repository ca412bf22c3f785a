"""Proves tree order, closure, and that files that are no tree are refused by name."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import TaxonomyError
from schemas.taxonomy import Node, Taxonomy, load_taxonomy, node_fingerprint, write_taxonomy

HEADER = "id\tparent_id\tname\texclusive\n"
CASES = Path(__file__).parents[2].parent / "shared" / "cases"


def case_folders():
    """Returns the real case folders; says loudly that nothing was tested where there are none."""
    folders = sorted(path.parent for path in CASES.glob("*/taxonomy.tsv"))
    return folders or [pytest.param(None, marks=pytest.mark.skip(reason=f"no case folder under {CASES}: real files were NOT tested"))]


def load(tmp_path, text, name="taxonomy.tsv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_taxonomy(path)


@st.composite
def trees(draw):
    size = draw(st.integers(1, 25))
    parents = [draw(st.integers(-1, i - 1)) for i in range(size)]
    nodes = [Node(f"n{i}", f"n{parent}" if parent >= 0 else "", f"Name {i}", True) for i, parent in enumerate(parents)]
    return Taxonomy(draw(st.permutations(nodes)))


@given(trees())
def test_every_subtree_is_the_nodes_that_have_its_root_in_their_chain(tree):
    for node in tree:
        below = [i for i in range(len(tree)) if tree.index(node.id) in tree.chain(tree[i].id)]
        assert list(tree.subtree(node.id)) == below


@given(trees(), st.data())
def test_a_closure_is_the_union_of_the_chains_in_tree_order(tree, data):
    chosen = data.draw(st.lists(st.sampled_from(tree.ids), max_size=5))
    assert tree.closure(chosen) == sorted({number for node_id in chosen for number in tree.chain(node_id)})
    assert all(tree.depth(node_id) == len(tree.chain(node_id)) for node_id in tree.ids)


@given(trees())
def test_a_tree_survives_its_file(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("tree") / "taxonomy.tsv"
    write_taxonomy(path, tree)
    again = load_taxonomy(path)
    assert list(again) == list(tree)
    assert again.sha256 == tree.sha256


def test_optional_columns_and_flags_are_read(tmp_path):
    tree = load(tmp_path, "id\tparent_id\tname\texclusive\tsynonyms\treplaced_by\na\t\tA\tyes\tAlpha| Aleph \tb\nb\t\tB\t\t\t\n")
    assert tree[0] == Node("a", "", "A", True, ("Alpha", "Aleph"), "b")
    assert tree.exclusive_ids == ["a"]


def test_googles_list_of_paths_makes_leaves_exclusive(tmp_path):
    tree = load(
        tmp_path, "# Google_Product_Taxonomy_Version: 2021-09-21\n1 - Animals\n2 - Animals > Pet Supplies\nMedia > Books\n", "google.txt"
    )
    assert [tree.path(node.id) for node in tree] == ["Animals", "Animals > Pet Supplies", "Media", "Media > Books"]
    assert [tree.path(node_id) for node_id in tree.exclusive_ids] == ["Animals > Pet Supplies", "Media > Books"]


def test_a_path_has_the_same_id_in_any_file(tmp_path):
    first = load(tmp_path, "A > B\n", "one.txt")
    second = load(tmp_path, "Z\nA\nA > B\nA > C\n", "two.txt")
    assert set(first.ids) < set(second.ids)


def test_a_line_separator_inside_a_name_ends_no_line(tmp_path):
    assert load(tmp_path, HEADER + "a\t\tShoes\u2028Boots\t1\n")[0].name == "Shoes\u2028Boots"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "a\t\tA\t1\na\t\tB\t1\n", "taxonomy.tsv:3: id 'a' is used by 'A' and by 'B'. Give each node its own id."),
        (HEADER + "a\tx\tA\t1\n", "node 'a' names parent 'x', which isn't there. Add it or leave parent_id empty."),
        (HEADER + "a\tb\tA\t1\nb\ta\tB\t1\n", "node 'a' is its own ancestor: a -> b -> a. Break the cycle by naming another parent."),
        (HEADER + "a\t\tA\t0\n", "no node is exclusive, so nothing could be answered. Set exclusive to 1 at the leaves."),
        (HEADER + "a\t\t\t1\n", "taxonomy.tsv:2: id 'a' and name '' must both be filled."),
        (HEADER + "\n\na\t\tA\tmaybe\n", "taxonomy.tsv:4: exclusive 'maybe' isn't 0 or 1."),
        (
            "id\tname\na\tA\n",
            "taxonomy.tsv:1: column 'parent_id' is missing. Found ['id', 'name']; expected id, parent_id, name, exclusive.",
        ),
        ("", "the file is empty. Expected the columns id, parent_id, name, exclusive, or one path a line."),
        ("A > > B\n", "taxonomy.tsv:1: the path 'A > > B' has an empty name. Write A > B > C."),
        (b"\xff\xfe\x00", "byte 0 isn't UTF-8. Save the file as UTF-8."),
        (HEADER + "a\t\tA\x00\t1\n", "this isn't a table: line contains NUL. Expected tab-separated text."),
    ],
)
def test_a_file_that_is_no_tree_is_refused_by_name(tmp_path, text, message):
    with pytest.raises(TaxonomyError) as refused:
        load(tmp_path, text)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(TaxonomyError, match="there is no such taxonomy file. Set taxonomy.path."):
        load_taxonomy(tmp_path / "none.tsv")
    with pytest.raises(TaxonomyError, match="can't be read"):
        load_taxonomy(tmp_path)


def test_an_unknown_node_is_refused_with_the_size_of_the_tree():
    with pytest.raises(TaxonomyError, match="node 'x' isn't in the taxonomy of 1 nodes"):
        Taxonomy([Node("a", "", "A", True)]).depth("x")


def test_replacements_are_followed_to_their_end_even_in_a_circle():
    tree = Taxonomy([
        Node("a", "", "A", True, replaced_by="b"), Node("b", "", "B", True, replaced_by="c"), Node("c", "", "C", True, replaced_by="gone"),
        Node("x", "", "X", True, replaced_by="y"), Node("y", "", "Y", True, replaced_by="x"),
    ])  # fmt: skip
    assert tree.resolve("a") == "c"
    assert tree.resolve("x") == "y"


def test_fingerprints_tell_nodes_apart_and_leave_zero_for_padding():
    numbers = {node_fingerprint(f"n{i}") for i in range(2000)}
    assert len(numbers) == 2000
    assert all(0 < number < 2**62 for number in numbers)


@pytest.mark.parametrize("folder", case_folders())
def test_the_real_taxonomies_load_as_they_are(folder):
    tree = load_taxonomy(folder / "taxonomy.tsv")
    assert len(tree) == len((folder / "taxonomy.tsv").read_text().splitlines()) - 1
    assert tree.exclusive_ids
