"""Holds the words the demo's shops share in English, German and Swedish: colours, sizes, genders, departments, sentences."""

from __future__ import annotations

ENGLISH, GERMAN, SWEDISH = "en", "de", "sv"
LANGUAGES = (ENGLISH, GERMAN, SWEDISH)

# Name in each language, and the RGB its picture is drawn with.
COLOURS: dict[str, tuple[str, str, tuple[int, int, int]]] = {
    "black": ("schwarz", "svart", (35, 35, 38)),
    "white": ("weiß", "vit", (240, 240, 236)),
    "grey": ("grau", "grå", (140, 142, 146)),
    "navy": ("marineblau", "marinblå", (30, 44, 92)),
    "blue": ("blau", "blå", (48, 104, 200)),
    "red": ("rot", "röd", (200, 40, 44)),
    "green": ("grün", "grön", (52, 140, 72)),
    "yellow": ("gelb", "gul", (236, 200, 52)),
    "pink": ("rosa", "rosa", (236, 140, 172)),
    "brown": ("braun", "brun", (120, 80, 48)),
    "beige": ("beige", "beige", (214, 196, 164)),
    "purple": ("lila", "lila", (124, 72, 156)),
}

SIZES: dict[str, tuple[str, ...]] = {
    "none": (),
    "clothes": ("XS", "S", "M", "L", "XL", "XXL", "36", "38", "40", "42"),
    "shoes": ("EU 36", "EU 37", "EU 38", "EU 39", "EU 40", "EU 41", "EU 42", "EU 43", "EU 44"),
    "centimetres": ("20 cm", "30 cm", "40 x 60 cm", "50 cm", "80 x 80 cm", "90 cm", "120 cm", "160 x 230 cm", "200 cm"),
    "watts": ("5 W", "9 W", "40 W", "60 W", "800 W", "1200 W", "2200 W"),
    "gigabytes": ("64 GB", "128 GB", "256 GB", "512 GB", "1 TB"),
    "inches": ('24"', '27"', '32"', '43"', '55"', '65"'),
    "litres": ("2 l", "5 l", "10 l", "20 l", "35 l", "60 l"),
    "kilograms": ("1 kg", "2 kg", "4 kg", "8 kg", "12 kg", "15 kg"),
    "millilitres": ("15 ml", "30 ml", "50 ml", "75 ml", "100 ml", "250 ml", "400 ml"),
}

GENDERS: dict[str, tuple[str, str, str]] = {
    "women": ("women", "Damen", "dam"),
    "men": ("men", "Herren", "herr"),
    "kids": ("kids", "Kinder", "barn"),
    "unisex": ("unisex", "Unisex", "unisex"),
}
# Nodes of these names say whom their products are for.
GENDER_OF_NAME = {"Women": "women", "Men": "men", "Kids": "kids"}

# Department names as German and Swedish shops write them; other names stay English there, as they often do.
DEPARTMENTS: dict[str, tuple[str, str]] = {
    "Fashion": ("Mode", "Mode"),
    "Women": ("Damen", "Dam"),
    "Men": ("Herren", "Herr"),
    "Kids": ("Kinder", "Barn"),
    "Shoes": ("Schuhe", "Skor"),
    "Accessories": ("Zubehör", "Tillbehör"),
    "Jewellery & Watches": ("Schmuck & Uhren", "Smycken & klockor"),
    "Home & Living": ("Wohnen", "Hem"),
    "Furniture": ("Möbel", "Möbler"),
    "Lamps": ("Leuchten", "Belysning"),
    "Textiles": ("Heimtextilien", "Hemtextil"),
    "Kitchen": ("Küche", "Kök"),
    "Tableware": ("Geschirr", "Servering"),
    "Appliances": ("Küchengeräte", "Köksmaskiner"),
    "Decoration": ("Deko", "Inredning"),
    "Electronics": ("Technik", "Elektronik"),
    "Phones": ("Telefone", "Telefoner"),
    "Computers": ("Rechner", "Datorer"),
    "Audio": ("Ton", "Ljud"),
    "Gaming": ("Videospiele", "Spel"),
    "Wearables": ("Tragbare Technik", "Bärbart"),
    "Sports & Outdoor": ("Sport", "Sport & fritid"),
    "Running": ("Laufen", "Löpning"),
    "Cycling": ("Radsport", "Cykling"),
    "Camping": ("Camping & Wandern", "Friluftsliv"),
    "Fitness": ("Fitness", "Träning"),
    "Football": ("Fußball", "Fotboll"),
    "Winter sports": ("Wintersport", "Vintersport"),
    "Toys & Games": ("Spielwaren", "Leksaker"),
    "Games": ("Spiele", "Spel"),
    "Beauty & Care": ("Drogerie", "Skönhet"),
    "Hair": ("Haare", "Hår"),
    "Perfume": ("Düfte", "Parfym"),
    "Garden & DIY": ("Garten & Heimwerken", "Trädgård & bygg"),
    "Pets": ("Tierbedarf", "Husdjur"),
    "Dogs": ("Hund", "Hund"),
    "Cats": ("Katze", "Katt"),
}

# {name}: brand and line. {first}, {second}: words of that part of the shop. {word}: what it is. {other}: what it isn't.
PLAIN_SENTENCES: dict[str, tuple[str, ...]] = {
    ENGLISH: (
        "The {name} is {first} and {second}.",
        "New this season from {brand}: {first}, {second}, made to last.",
        "Customers like how {first} it is.",
        "Comes in {colour}. {second}, {first}.",
        "{brand} has been known for quality since {year}.",
        "Order today, delivered in {days} days.",
    ),
    GERMAN: (
        "{name}: {first}, {second}.",
        "Neu von {brand} in {colour}, {first}.",
        "Unsere Kunden loben: {second}.",
        "{brand} steht seit {year} für Qualität.",
        "Lieferung in {days} Tagen.",
    ),
    SWEDISH: (
        "{name} är {first} och {second}.",
        "Nyhet från {brand} i {colour}, {first}.",
        "Våra kunder gillar: {second}.",
        "{brand} har gjort kvalitet sedan {year}.",
        "Leverans inom {days} dagar.",
    ),
}
TELLING_SENTENCES: dict[str, tuple[str, ...]] = {
    ENGLISH: ("This {word} is a favourite of our team.", "A {word} you will use every day.", "Looking for a {word}? Here it is."),
    GERMAN: ("{word} für jeden Tag.", "Ein Liebling unseres Teams: {word}.", "Sie suchen: {word}? Bitte sehr."),
    SWEDISH: ("{word} för varje dag.", "Vår favorit: {word}.", "Letar du efter {word}? Här är den."),
}
MISLEADING_SENTENCES: dict[str, tuple[str, ...]] = {
    ENGLISH: ("Goes well with a {other}.", "Customers also bought: {other}.", "Don't forget the matching {other}.", "Not a {other}."),
    GERMAN: ("Passt gut zu: {other}.", "Andere kauften auch: {other}.", "Dazu passend: {other}."),
    SWEDISH: ("Passar bra till: {other}.", "Andra köpte också: {other}.", "Glöm inte: {other}."),
}
# How a title mentions something the product isn't.
MISLEADING_TITLES: dict[str, tuple[str, ...]] = {
    ENGLISH: ("for {other}", "+ free {other}", "matches {other}", "like a {other}"),
    GERMAN: ("für {other}", "+ gratis {other}", "passend zu {other}"),
    SWEDISH: ("till {other}", "+ gratis {other}", "passar {other}"),
}
PLACEHOLDERS = (
    "n/a",
    "-",
    "TBD",
    "No description available.",
    "Beschreibung folgt",
    "lorem ipsum dolor sit amet",
    "null",
    "Beskrivning saknas",
)


def colour_name(colour: str, language: str) -> str:
    """Returns a colour's name in a language, or the colour itself where it is empty."""
    if not colour or language == ENGLISH:
        return colour
    german, swedish, _ = COLOURS[colour]
    return german if language == GERMAN else swedish


def department_name(name: str, language: str) -> str:
    """Returns a category's name as shops of a language write it."""
    if language == ENGLISH or name not in DEPARTMENTS:
        return name
    return DEPARTMENTS[name][0 if language == GERMAN else 1]
