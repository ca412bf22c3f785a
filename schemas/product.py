"""Names the fields of a product, as feeds are mapped to them and every later stage reads them."""

from __future__ import annotations

ID = "id"
SHOP = "shop"
NETWORK = "network"
TITLE = "title"
BRAND = "brand"
CATEGORY = "category"
MERCHANT_CATEGORY = "merchant_category"
DESCRIPTION = "description"
GENDER = "gender"
SIZE = "size"
COLOUR = "colour"
PRICE = "price"
IMAGE = "image"

# What a feed mapping may fill, in the order reports list them.
FIELDS = (
    ID, SHOP, NETWORK, TITLE, BRAND, CATEGORY, MERCHANT_CATEGORY,
    DESCRIPTION, GENDER, SIZE, COLOUR, PRICE, IMAGE,
)  # fmt: skip
NUMERIC_FIELDS = (PRICE,)
STRING_FIELDS = tuple(field for field in FIELDS if field not in NUMERIC_FIELDS)
# A row can't be used without an id, or if it says nothing in any of the describing fields.
REQUIRED_FIELDS = (ID,)
DESCRIBING_FIELDS = (TITLE, BRAND, CATEGORY, MERCHANT_CATEGORY, DESCRIPTION, IMAGE)
# What a rule may look into.
RULE_FIELDS = (TITLE, BRAND, CATEGORY, MERCHANT_CATEGORY, DESCRIPTION, GENDER, SIZE, COLOUR, SHOP, NETWORK)

# The picture itself, in a request to a model that encodes pictures; `image` only says where one is.
IMAGE_BYTES = "image_bytes"

# Written by ProductExampleGen beside the fields above.
GROUP = "group"
# Written by LabelJoin. A feature that has nothing to say is absent from the example.
ANSWER_NODE = "answer_node"
ANSWER_EVENT = "answer_event"
CATEGORY_DEPTH = "category_depth"
RULE_NODES = "rule_nodes"
RULE_IDS = "rule_ids"
# What people said short of one node, or about a group of products that this one is in; `answer_kind` is the latest word about the
# product itself, and keeps it from being asked about again.
ANSWER_UNDER = "answer_under"
ANSWER_NOT = "answer_not"
GROUP_NODE = "group_node"
ANSWER_QUESTION = "answer_question"
ANSWER_KIND = "answer_kind"
PARTIAL_FEATURES = (ANSWER_UNDER, ANSWER_NOT, GROUP_NODE, ANSWER_QUESTION)
LABEL_FEATURES = (ANSWER_NODE, ANSWER_EVENT, CATEGORY_DEPTH, RULE_NODES, RULE_IDS, *PARTIAL_FEATURES, ANSWER_KIND)

DEV = "dev"
TEST = "test"
SPLITS = (DEV, TEST)
