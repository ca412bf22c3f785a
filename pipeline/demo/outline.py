"""Holds the demo shop's category tree as an indented outline, with the words people use for each category.

A line is `Name | words, best first | German, Swedish word | synonyms`. A node with words may be a final answer; an inner one
then means "this, but none of its children". `~` lines hold words that say which part of the shop a product is from without
saying which category; all nodes below share them. `#` names the kind of size that is sold there.
"""

from __future__ import annotations

OUTLINE = """
Fashion
  ~ slim fit, relaxed, organic cotton, everyday, machine washable, season, soft, lined, classic, stretch
  # clothes
  Women | | | Ladies, Damen
    Dresses | dress, midi dress, shirt dress | Kleid, klänning
      Evening dresses | evening dress, gown, cocktail dress | Abendkleid, aftonklänning
      Summer dresses | summer dress, sundress, maxi dress | Sommerkleid, sommarklänning
    Tops | top, blouse, tank top, tee | Oberteil, topp | T-shirts, Blouses
    Knitwear | jumper, cardigan, pullover, knit | Strickpullover, stickad tröja | Sweaters
    Trousers | trousers, pants, culottes | Hose, byxor | Pants
      Jeans | jeans, skinny jeans, denim | Jeanshose, jeans
      Leggings | leggings, tights | Leggings, leggings
    Jackets & Coats | jacket, coat, trench | Jacke, jacka | Outerwear
      Parkas | parka, winter jacket | Parka, parkas
      Blazers | blazer, suit jacket | Blazer, kavaj
    Skirts | skirt, mini skirt | Rock, kjol
    Shoes
      ~ rubber sole, padded, leather upper, cushioned
      # shoes
      Sneakers | sneakers, trainers | Turnschuhe, gympaskor | Trainers
      Boots | boots, chelsea | Stiefel, stövlar
        Ankle boots | ankle boots, booties | Stiefeletten, ankelboots
        Winter boots | winter boots, snow boots | Winterstiefel, vinterkängor
      Pumps | pumps, heels, stilettos | Pumps, klackskor | High heels
      Sandals | sandals, slides, espadrilles | Sandalen, sandaler
    Bags | bag, shoulder bag, tote | Tasche, väska
      # none
      Handbags | handbag, satchel | Handtasche, handväska
      Clutches | clutch, evening bag | Clutch, kuvertväska
    Accessories
      # none
      Scarves | scarf, shawl, wrap | Schal, halsduk
      Belts | belt, waist belt | Gürtel, skärp
      Hats | hat, beanie, beret | Hut, hatt | Caps
  Men | | | Gentlemen, Herren
    Shirts | shirt, oxford shirt, tee | Hemd, skjorta | T-shirts
    Knitwear | jumper, cardigan, pullover, crew neck | Strickjacke, tröja | Sweaters
    Trousers | trousers, pants, slacks | Hose, byxor | Pants
      Jeans | jeans, denim, straight jeans | Jeanshose, jeans
      Chinos | chinos, chino pants | Chinohose, chinos
    Jackets | jacket, bomber, coat | Jacke, jacka | Outerwear
    Shoes
      ~ rubber sole, padded, leather upper, cushioned
      # shoes
      Sneakers | sneakers, trainers | Turnschuhe, gympaskor | Trainers
      Boots | boots, work boots, chelsea | Stiefel, kängor
      Lace-ups | oxfords, brogues, derby | Schnürschuhe, snörskor | Business shoes
    Accessories
      # none
      Ties | tie, bow tie | Krawatte, slips
      Belts | belt, leather belt | Gürtel, bälte
      Wallets | wallet, card holder | Geldbörse, plånbok
    Underwear | boxers, briefs, undershirt | Unterhose, kalsonger
  Kids | | | Children, Kinder
    Clothing | romper, dungarees, kids top | Strampler, sparkdräkt
    Jackets | rain jacket, snowsuit, jacket | Regenjacke, regnjacka
    Shoes | kids shoes, first walkers, wellies | Kinderschuhe, barnskor
    School bags | satchel, school bag, backpack | Schulranzen, skolväska
  Jewellery & Watches
    ~ sterling silver, gold plated, hypoallergenic, gift box
    # none
    Necklaces | necklace, pendant, chain | Halskette, halsband
    Earrings | earrings, studs, hoops | Ohrringe, örhängen
    Rings | ring, band ring, signet | Fingerring, ring
    Watches | watch, chronograph, wristwatch | Armbanduhr, klocka
Home & Living
  ~ easy care, modern, handmade, scandinavian, stackable, compact, solid, natural, country style, premium
  # centimetres
  Furniture
    ~ solid oak, veneer, self assembly, lacquered
    Sofas | sofa, couch, loveseat | Sofa, soffa | Couches
      Sofa beds | sofa bed, futon | Schlafsofa, bäddsoffa
    Chairs | chair, dining chair, stool | Stuhl, stol
      Office chairs | office chair, swivel chair, desk chair | Bürostuhl, kontorsstol
    Tables | table, dining table, desk | Tisch, bord
      Coffee tables | coffee table, side table | Couchtisch, soffbord
    Beds | bed, bed frame, bunk bed | Bett, säng
    Storage | shelf, cabinet, sideboard | Regal, hylla | Shelves
      Wardrobes | wardrobe, closet | Kleiderschrank, garderob
  Lamps | lamp, light | Lampe, lampa | Lighting
    ~ dimmable, E27, LED, warm white
    # watts
    Floor lamps | floor lamp, uplighter | Stehlampe, golvlampa
    Table lamps | table lamp, desk lamp, bedside lamp | Tischlampe, bordslampa
    Ceiling lamps | ceiling lamp, pendant, chandelier | Deckenlampe, taklampa
  Textiles
    ~ OEKO certified, 300 thread, woven, quilted
    Bed linen | duvet cover, bed linen, fitted sheet | Bettwäsche, sängkläder
    Curtains | curtain, blind, drapes | Vorhang, gardin
    Towels | towel, bath sheet, washcloth | Handtuch, handduk
    Cushions | cushion, pillow, throw pillow | Kissen, kudde
    Rugs | rug, carpet, runner | Teppich, matta
  Kitchen
    ~ dishwasher safe, BPA free, food safe, stainless
    Cookware | casserole, wok, baking tray | Kochgeschirr, kokkärl
      Pots | pot, saucepan, stockpot | Topf, kastrull
      Pans | pan, frying pan, skillet | Pfanne, stekpanna
    Tableware
      Plates | plate, bowl, dinner set | Teller, tallrik
      Glasses | glass, tumbler, wine glass | Glas, glas
      Mugs | mug, cup, teacup | Becher, mugg
    Knives | knife, chef's knife, cutter | Messer, kniv
    Appliances
      # watts
      Kettles | kettle, water boiler | Wasserkocher, vattenkokare
      Coffee makers | coffee maker, espresso machine | Kaffeemaschine, kaffebryggare
      Blenders | blender, mixer, smoothie maker | Mixer, mixer
      Toasters | toaster, sandwich grill | Toaster, brödrost
  Decoration
    Candles | candle, tealight, candlestick | Kerze, ljus
    Vases | vase, jar | Vase, vas
    Picture frames | picture frame, frame | Bilderrahmen, tavelram
    Mirrors | mirror, wall mirror | Spiegel, spegel
  Accessories | soap dispenser, bathroom set, hook rail | Badaccessoire, badrumsset
Electronics
  ~ USB-C, wireless, fast, black edition, energy saving, 2-year warranty, smart, pro, ultra, mini
  # none
  Phones
    ~ 5G, dual SIM, MagSnap
    Smartphones | smartphone, phone, mobile | Handy, mobiltelefon | Mobile phones
      # gigabytes
    Accessories | phone holder, car mount, stylus | Handyhalterung, mobilhållare
      Cases | case, cover, flip case | Hülle, skal
      Chargers | charger, power bank, cable | Ladegerät, laddare
      Screen protectors | screen protector, tempered glass | Schutzfolie, skärmskydd
  Computers
    ~ 16 GB RAM, SSD, quad core, Full HD
    Laptops | laptop, notebook, ultrabook | Notebook, bärbar dator | Notebooks
      # gigabytes
      Gaming laptops | gaming laptop, gaming notebook | Gaming-Notebook, speldator
    Tablets | tablet, e-reader | Tablet, surfplatta
      # gigabytes
    Monitors | monitor, screen, display | Bildschirm, skärm
      # inches
    Accessories | docking station, hub, adapter | Dockingstation, dockningsstation
      Keyboards | keyboard, keypad | Tastatur, tangentbord
      Mice | mouse, trackball | Maus, mus
      Laptop bags | laptop bag, sleeve, backpack | Laptoptasche, datorväska
  Audio
    ~ noise cancelling, Bluetooth 5.3, stereo, bass boost
    Headphones | headphones, headset | Kopfhörer, hörlurar
      In-ear | earbuds, in-ear headphones | In-Ear-Kopfhörer, öronsnäckor
      Over-ear | over-ear headphones, studio headphones | Bügelkopfhörer, over-ear-hörlurar
    Speakers | speaker, boombox | Lautsprecher, högtalare
    Soundbars | soundbar, home cinema | Soundbar, soundbar
  Cameras | camera, compact camera | Kamera, kamera
    ~ 24 MP, 4K video, optical zoom
    Lenses | lens, zoom lens, prime lens | Objektiv, objektiv
    Accessories | tripod, camera bag, filter | Stativ, stativ
  Televisions | television, TV, smart TV | Fernseher, TV-apparat | TV
    # inches
  Gaming
    Consoles | console, handheld | Spielkonsole, spelkonsol
    Controllers | controller, gamepad, joystick | Controller, handkontroll
  Wearables
    Smartwatches | smartwatch, watch | Smartwatch, smartklocka
    Fitness trackers | fitness tracker, activity band | Fitnessarmband, aktivitetsarmband
Sports & Outdoor
  ~ breathable, lightweight, waterproof, quick dry, reflective, training, race, all-terrain, team, performance
  # none
  Running
    Running shoes | running shoes, trainers, trail shoes | Laufschuhe, löparskor
      # shoes
    Running clothing | running shirt, running tights, shorts | Laufshirt, löpartröja
      # clothes
  Cycling | | | Bike shop
    ~ 21 speed, aluminium frame, disc brake, 28 inch
    Bikes | bike, bicycle, city bike | Fahrrad, cykel | Bicycles
      Mountain bikes | mountain bike, MTB, hardtail | Mountainbike, mountainbike
      E-bikes | e-bike, pedelec | Elektrofahrrad, elcykel
    Bike lamps | bike lamp, bike light, rear light | Fahrradlampe, cykellampa
    Helmets | helmet, bike helmet | Fahrradhelm, cykelhjälm
    Accessories | bike lock, bottle cage, bike bell | Fahrradschloss, cykellås
      Pumps | bike pump, floor pump | Luftpumpe, cykelpump
  Camping
    ~ 3 season, packable, ripstop, 2 person
    Tents | tent, tarp, shelter | Zelt, tält
    Sleeping bags | sleeping bag, bivvy bag | Schlafsack, sovsäck
    Backpacks | backpack, rucksack, daypack | Rucksack, ryggsäck
      # litres
    Lamps | headlamp, lantern, torch | Stirnlampe, pannlampa
    Stoves | camping stove, gas cooker, pot set | Campingkocher, friluftskök
  Fitness
    Weights | dumbbell, kettlebell, barbell | Hantel, hantel
      # kilograms
    Yoga | yoga mat, yoga block, mat | Yogamatte, yogamatta
    Machines | treadmill, rowing machine, exercise bike | Laufband, löpband
  Football
    Balls | football, match ball | Fußball, fotboll
    Football boots | football boots, cleats, boots | Fußballschuhe, fotbollsskor
      # shoes
    Jerseys | jersey, goalkeeper shirt | Trikot, matchtröja
      # clothes
  Winter sports
    Skis | skis, ski set, poles | Ski, skidor
    Ski jackets | ski jacket, jacket, shell | Skijacke, skidjacka
      # clothes
    Goggles | goggles, ski goggles | Skibrille, skidglasögon
  Swimming | swimsuit, swim shorts, bathing cap | Badeanzug, baddräkt
    # clothes
Toys & Games
  ~ age 3+, educational, colourful, award, gift idea, non-toxic, battery free, play set, 48 pieces, collectable
  # none
  Building sets | building blocks, construction set, bricks | Bausteine, byggklossar
  Dolls | doll, baby doll | Puppe, docka
    Doll's houses | doll's house, doll furniture | Puppenhaus, dockhus
    Accessories | doll clothes, doll pram | Puppenkleidung, dockkläder
  Plush | plush, teddy bear, cuddly toy | Kuscheltier, gosedjur | Stuffed animals
  Games
    Board games | board game, strategy game | Brettspiel, brädspel
    Card games | card game, playing cards | Kartenspiel, kortspel
    Puzzles | puzzle, jigsaw | Puzzle, pussel
  Vehicles | toy car, truck, racing car | Spielzeugauto, leksaksbil
    Trains | train set, locomotive, wooden railway | Eisenbahn, tåg
    Remote control | RC car, drone, remote control car | Ferngesteuertes Auto, radiostyrd bil
  Outdoor toys | trampoline, sandpit, swing | Schaukel, gunga
  Crafts | craft set, painting set, brush | Bastelset, pysselset
Beauty & Care
  ~ vegan, dermatologist tested, long lasting, fragrance free, travel size, refillable, sensitive, gentle, clean, glow
  # millilitres
  Make-up | make-up palette, eyeshadow, blush | Lidschatten, ögonskugga | Cosmetics
    Lips | lipstick, lip gloss, lip balm | Lippenstift, läppstift
    Mascara | mascara, eyeliner | Wimperntusche, mascara
    Foundation | foundation, concealer, powder | Grundierung, foundation
    Brushes | make-up brush, brush, sponge | Schminkpinsel, sminkborste
  Skin care | face mask, toner, cleanser | Gesichtsmaske, ansiktsmask
    Creams | cream, moisturiser, lotion | Creme, kräm
    Serums | serum, face oil | Serum, serum
    Sun care | sunscreen, sun lotion, after sun | Sonnencreme, solkräm
  Hair
    Shampoo | shampoo, conditioner | Shampoo, schampo
    Styling | hair spray, wax, gel | Haarspray, hårspray
    Hair dryers | hair dryer, straightener, curler | Haartrockner, hårtork
      # watts
    Brushes | hair brush, comb, brush | Haarbürste, hårborste
  Perfume
    Women | eau de parfum, perfume, body mist | Damenparfum, damparfym
    Men | eau de toilette, cologne, aftershave | Herrenparfum, herrparfym
  Shaving | razor, shaver, trimmer | Rasierer, rakapparat
Garden & DIY
  ~ weatherproof, heavy duty, cordless, rust free, galvanised, ergonomic, hardwood, 18 V, outdoor, workshop
  # centimetres
  Tools | tool set, hammer, pliers | Werkzeug, verktyg
    Drills | drill, hammer drill, screwdriver | Bohrmaschine, borrmaskin
      # watts
    Saws | saw, jigsaw, chainsaw | Säge, såg
    Paint | wall paint, brush, roller | Wandfarbe, väggfärg
      # litres
  Garden furniture | garden chair, garden table, lounge set | Gartenmöbel, trädgårdsmöbler
    Parasols | parasol, umbrella, awning | Sonnenschirm, parasoll
    Hammocks | hammock, swing | Hängematte, hängmatta
  Garden lamps | garden lamp, solar light, lantern | Gartenlampe, trädgårdslampa
  Plants | seeds, bulbs, pot plant | Samen, frön
    Pots | flower pot, planter, pot | Blumentopf, kruka
  Watering | garden hose, watering can, sprinkler | Gartenschlauch, vattenslang
  Mowers | lawn mower, robot mower, trimmer | Rasenmäher, gräsklippare
  Barbecues | barbecue, grill, smoker | Grill, grill
Pets
  ~ chew resistant, grain free, washable, natural, small breeds, adult, hygienic, adjustable, calming, treat
  # none
  Dogs
    Food | dog food, kibble, treats | Hundefutter, hundfoder
      # kilograms
    Beds | dog bed, cushion, basket | Hundebett, hundbädd
    Leads & Collars | lead, collar, harness | Hundeleine, koppel
    Toys | dog toy, chew toy, ball | Hundespielzeug, hundleksak
  Cats
    Food | cat food, wet food, treats | Katzenfutter, kattmat
      # kilograms
    Litter | cat litter, litter box | Katzenstreu, kattsand
    Scratching posts | scratching post, cat tree | Kratzbaum, klösträd
    Toys | cat toy, feather wand, ball | Katzenspielzeug, kattleksak
  Fish & Birds | aquarium, bird cage, fish food | Aquarium, akvarium
"""
