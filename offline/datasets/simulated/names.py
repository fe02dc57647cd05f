"""Names of the simulated shop: categories, brands, and the words of queries and attributes."""

from typing import Final

CATALOGUE: Final[dict[str, tuple[str, ...]]] = {
    "women's fashion": tuple(
        "summer dress, blouse, pencil skirt, knit cardigan, trench coat, leggings, jumpsuit, "
        "denim jeans, evening gown, wool jumper, silk scarf, blazer, maternity top, lingerie set, "
        "swimsuit, pyjamas".split(", ")
    ),
    "men's fashion": tuple(
        "dress shirt, polo shirt, chinos, business suit, leather belt, hoodie, bomber jacket, "
        "cargo trousers, necktie, crew socks, boxer shorts, waistcoat, parka, t-shirt, overcoat, "
        "swim trunks".split(", ")
    ),
    "shoes and bags": tuple(
        "high heels, ankle boots, running shoes, loafers, sandals, slippers, handbag, backpack, "
        "suitcase, wallet, tote bag, rain boots, ballet flats, work boots, crossbody bag, "
        "laptop bag".split(", ")
    ),
    "jewellery and watches": tuple(
        "gold necklace, pearl earrings, silver bracelet, engagement ring, wristwatch, smartwatch, "
        "cufflinks, brooch, anklet, diamond pendant, watch strap, charm bracelet, hair pin, "
        "tiara, jade bangle, pocket watch".split(", ")
    ),
    "beauty": tuple(
        "lipstick, foundation, mascara, eyeshadow palette, nail polish, face mask, moisturiser, "
        "sunscreen, perfume, cleansing oil, serum, hair dye, shampoo, makeup brush, eyeliner, "
        "body lotion".split(", ")
    ),
    "health": tuple(
        "vitamin tablets, protein powder, fish oil, herbal tea, blood pressure monitor, "
        "thermometer, face masks, massage gun, heating pad, knee brace, reading glasses, "
        "hearing aid, walking stick, sleep aid, first aid kit, pill organiser".split(", ")
    ),
    "baby": tuple(
        "nappies, baby formula, pushchair, baby bottle, cot, baby carrier, baby wipes, "
        "teething ring, baby monitor, car seat, bibs, baby bath, play mat, high chair, romper, "
        "breast pump".split(", ")
    ),
    "toys": tuple(
        "building blocks, jigsaw puzzle, doll, toy train, board game, plush bear, remote car, "
        "water pistol, kite, play kitchen, action figure, modelling clay, marble run, yo-yo, "
        "toy drum, bubble machine".split(", ")
    ),
    "books and stationery": tuple(
        "novel, picture book, textbook, cookbook, comic book, notebook, fountain pen, "
        "colouring pencils, planner, sketchbook, travel guide, biography, exam workbook, "
        "sticky notes, globe, poetry collection".split(", ")
    ),
    "phones": tuple(
        "smartphone, phone case, charger, power bank, screen protector, earbuds, selfie stick, "
        "phone holder, charging cable, memory card, senior phone, phone grip, wireless charger, "
        "gimbal, sim adapter, ring light".split(", ")
    ),
    "computers": tuple(
        "laptop, keyboard, mouse, monitor, graphics card, printer, router, hard drive, webcam, "
        "tablet, processor, desktop case, docking station, ink cartridge, usb hub, "
        "office chair".split(", ")
    ),
    "games and audio": tuple(
        "game console, game controller, headphones, bluetooth speaker, turntable, guitar, "
        "electric piano, microphone, virtual reality headset, violin, soundbar, ukulele, "
        "drum kit, amplifier, arcade stick, harmonica".split(", ")
    ),
    "home appliances": tuple(
        "refrigerator, washing machine, vacuum cleaner, air conditioner, television, rice cooker, "
        "air purifier, electric fan, microwave oven, dishwasher, water heater, humidifier, iron, "
        "hair dryer, projector, robot cleaner".split(", ")
    ),
    "kitchen": tuple(
        "frying pan, chef's knife, cutting board, coffee machine, tea set, lunch box, blender, "
        "baking tin, wine glass, chopsticks, pressure cooker, spice rack, water bottle, "
        "mixing bowl, kettle, toaster".split(", ")
    ),
    "furniture": tuple(
        "sofa, dining table, bookshelf, mattress, wardrobe, bed frame, coffee table, bar stool, "
        "dressing table, shoe cabinet, desk, rocking chair, bunk bed, bean bag, nightstand, "
        "recliner".split(", ")
    ),
    "home decoration": tuple(
        "curtains, carpet, table lamp, picture frame, vase, cushion, wallpaper, scented candle, "
        "wall clock, mirror, duvet cover, bath towel, fairy lights, artificial flowers, tapestry, "
        "doormat".split(", ")
    ),
    "sports": tuple(
        "yoga mat, dumbbells, treadmill, basketball, badminton racket, football, cycling helmet, "
        "swimming goggles, skipping rope, golf clubs, boxing gloves, skateboard, table tennis bat, "
        "rowing machine, resistance bands, ski jacket".split(", ")
    ),
    "outdoors and garden": tuple(
        "tent, sleeping bag, fishing rod, hiking poles, barbecue grill, garden hose, lawn mower, "
        "flower seeds, plant pot, camping stove, binoculars, hammock, greenhouse, pruning shears, "
        "head torch, watering can".split(", ")
    ),
    "cars and tools": tuple(
        "car tyres, dash camera, engine oil, seat cover, car wax, power drill, toolbox, hammer, "
        "screwdriver set, ladder, motorcycle helmet, jump starter, paint roller, measuring tape, "
        "car vacuum, floor mats".split(", ")
    ),
    "food and pets": tuple(
        "green tea, coffee beans, instant noodles, dark chocolate, olive oil, dried fruit, nuts, "
        "red wine, honey, craft beer, dog food, cat litter, cat food, dog lead, fish tank, "
        "bird cage".split(", ")
    ),
}
"""First-level categories and their leaves."""

L1_NAMES: Final = tuple(CATALOGUE)
LEAF_NAMES: Final = tuple(leaf for leaves in CATALOGUE.values() for leaf in leaves)
LEAVES_PER_L1: Final = len(LEAF_NAMES) // len(L1_NAMES)

PRICE_TIERS: Final = ("bargain", "cheap", "mid-range", "premium", "luxury")
"""Price tiers 1 to 5, and the words by which queries ask for them."""
STYLES: Final = (
    "minimalist",
    "vintage",
    "sporty",
    "cute",
    "elegant",
    "rustic",
    "futuristic",
    "traditional",
)
RATINGS: Final = tuple(str(level) for level in range(1, 11))

ATTRIBUTES: Final[dict[str, tuple[str, ...]]] = {
    "age": ("18-24", "25-30", "31-39", "40-49", "50-59", "60+"),
    "gender": ("female", "male"),
    "city_size": ("metropolis", "large city", "town", "village"),
    "occupation": (
        "student",
        "office worker",
        "engineer",
        "teacher",
        "nurse",
        "shop owner",
        "civil servant",
        "retired",
    ),
    "household": ("single", "couple", "young children", "teenagers", "empty nest"),
    "spending": ("very low", "low", "medium", "high", "very high"),
}
"""Attributes of users and their values."""

_ONSETS: Final = "Ba Ce Di Fo Gu Ha Je Ki Lo Mu Na Pe Ri So Tu Va We Xi Yo Zu".split()
_ENDINGS: Final = "bel coro dane fix gard lina mora nel ora pax quin rell sten tova vex".split()
BRAND_NAMES: Final = tuple(onset + ending for onset in _ONSETS for ending in _ENDINGS)
"""300 brands, 15 for each first-level category in turn."""
