"""Everyday English that the tokenizer should know in whole words, beside the corpus's own captions."""

from __future__ import annotations

EVERYDAY = """
a about above across after again against air all alone along also always an and animal another any anything
are around as at away back be beach because become before begin behind being below beneath beside between big
bird body both bottom box boy bright bring brown building but by call can cat change city clean clear close
coming cold come concert could country cut dark day deep did different dirty distance do does dog door down
dry each early earth edge eight electric empty end engine enough evening ever every face fall far farm fast
father few field fifth fill find fire first fish five flat floor flying follow food foot for forest forward
found four fourth free friend from front full game garden girl give glass go gone good grass great green
ground group grow had half hall hand hard has have he head hear heavy her here high hill him his hold hollow
horse hot hour house how huge human hundred i ice if in indoors inside into iron is island it its itself just
keep kitchen lake land large last late later leave left less let life light like line liquid listen little
living long loose loud low machine made make man many material may me mean metal middle might minute more
morning most mountain mouth move much music must my near need never new next night nine no nobody noise none
north not nothing now number object of off office old on once one only open or other our out outdoors outside
over own paper park part past people person piece place plane plastic play please point pond power quick quiet
quiet railway rather reach ready real red right river road rock roof room rough round run same sand school sea
second see seem set seven several shallow sharp she ship shop short should show side silence silent simple
since single six sky sleep slow small smooth snow so soft some somebody someone something sometimes song soon
sound south space stairs stand start station stay step still stone stop storm strange street strong studio
such sudden suddenly summer sun surface sweet system take tall ten than that the their them then there these
they thick thin thing third this those three through time tiny to today together tone too top toward town
traffic train tree true tunnel turn two under underwater until up upon us use vehicle very voice wall warm was
watch water way we weather weird west wet what when where which while white who whole why wide wild will
window winter with within without woman wood wooden word work world would yard year yellow you young your zero
""".split()

SOUNDS = """
alarm ambience ambient amplifier approaching arrow axe baby background bang banjo bark barking bass bat battle
beat beeping beep bell bells bird birds bite blast blender blowing boat boiling bomb boom bottle bounce bow
brake branch break breaking breath breathing breeze brook broken brush bubble bubbles bugs bullet burning
burst bus button buzz buzzing camera camp car cars cartoon cave cello chainsaw chair cheer chicken child
children chime chirp chirping choir chord church cicada clap clapping clarinet click clicking clock coin
coins construction cooking cough crack cracking crackle crackling crash crashing cricket crickets crow crowd
crunch crying cymbal dance digital distorted dolphin dramatic drill drip dripping drive driving drone drop
drops drum drums duck echo echoing eerie elephant elevator emergency energy explosion faint fan faucet
fighting film fireplace fireworks flag flame flapping flute fly footstep footsteps frog galloping gate gentle
ghost giggle goat gong goose grinding growl growling guitar gun gunfire gunshot guns hail hammer hammering
harbour harp heart heartbeat helicopter hen hiss hit hitting hoof hooves horn howl howling hum humming idle
impact industrial insect insects instrument jet jingle jungle keyboard keys kick knife knock knocking laser
laugh laughing laughter lawn leaf leaves lightning lion loop machinery magic mallet marimba market mechanical
melody meow metallic microwave monkey monster mosquito motor motorcycle mouse mower muffled musical mystery
neigh night ocean oil orchestra organ owl passing phone piano pig pipe playful playing police pour pouring
power printer puddle pump purr quack radio rain rainfall raining rainy rattle rattling restaurant reverb
reversing rhythm rhythmic ring ringing rise rising roar roaring robot robotic rocket rolling rooster rumble
rumbling rustle rustling sad saw sawing saxophone scary scratching scream screaming screech seagull sheep
shaker shatter shattering shot shout shouting siren sizzle skate slam slamming slap slide snap snare sneeze
snore soccer speech speaking splash spooky spray squeak squeaky squeal stadium static steam steel steps
stereo stream string strings strum subway sword swoosh synth synthesizer tap tapping tearing telephone tense
tennis thud thunder thunderstorm tick ticking tiger tin toilet tool tractor trumpet truck tuba typewriter
typing ukulele vacuum van vibrating video violin volcano walk walking washing wave waves whale wheel whip
whisper whispering whistle whistling wind windy wing wings wolf wobble woodpecker yell zap zipper
""".split()

WORDS = EVERYDAY + SOUNDS

# None of these is in the corpus, so every caption of the evaluation is unseen.
FRAMES = ("recording: {}", "{} sound effect", "{}, high quality", "listen: {}")

# Everyday words that are sources of sound: to be told of where a model has not learnt them.
SOURCES = frozenset(
    "animal bird boat cat dog horse ice machine mother mouse music paper plane plastic river sea ship song "
    "stone storm traffic train vehicle voice water wood".split()
)

# Words that describe a sound, its recording or its place, and name none.
DESCRIBING = """
acoustic again ambience ambient amplified analog approaching asmr atmosphere atmospheric audible audience
audio authentic awesome background balcony basement bathroom beautiful bedroom being best bit cartoon cave
cinematic clean clip close comedy computer cool corridor crisp crystal cute cutting das deafening der
detailed die digital distorted dramatic driving dry echo echoes echoing eerie effect effects ein eine einem
einen einer electric electronic emergency end energy epic extreme faint field film flac flying foley footage
furious garage going gritty harsh hd hdr hifi high hiss hitting hollow hq ideal industrial intense isolated
jungle khz library lo-fi lofi loop looping loops loud loudest low magic man's masterpiece mechanical melodic
metallic microphone mixed modern mono movie muffled musical mystery natural nice noises noisy old ominous
original outside overhead passing past people perfect person play played playful playing plays pleasant
podcast powerful professional pure quality quiet raw real realistic recorded recording recordings relaxing
restaurant retro reverb reverberant rhythm rhythmic rich rising running sad sample samples scary scene scifi
sfx short single slight slow solo somebody someone soothing sounding sounds soundscape soundtrack spooky
stadium stereo studio style subtle subway super tape tense texture times tonal track tunnel turning typical
ultra unreal version vibrating vintage vivid volume warm wav wet wide wild woman's yard
""".split()

# {kind: words that a model of the corpus understands beside its captions'}, found by painting them.
ALSO: dict[str, str] = {}

# What people ask for, under the kinds that come nearest to it.
NEAR = {
    "flute": "accordion bagpipe bassoon brass clarinet didgeridoo flöte harmonica horn-section kazoo "
    "oboe ocarina organ panpipe piccolo recorder saxophone trombone trompete trumpet tuba",
    "train horn": "boat brass didgeridoo ferry foghorn harbour locomotive railway saxophone ship steam "
    "subway train tram trombone trumpet tuba zug",
    "violin": "cello contrabass fiddle geige harp orchestra string strings theremin viola",
    "acoustic guitar": "banjo bass gitarre harp lute mandolin sitar strum ukulele zither",
    "piano": "celesta harpsichord keyboard klavier marimba melody music organ song synth synthesizer "
    "vibraphone xylophone",
    "kick drum": "beat beatbox bongo boom conga drum drums heart heartbeat herz thud timpani tom trommel",
    "snare drum": "drum drums maracas percussion rimshot shaker tambourine tap trommel",
    "cymbal": "becken crash gong hi-hat hihat tambourine triangle",
    "dog bark": "animal bellt coyote fox growl hound howl hund hyena puppies puppy wolf wolves",
    "cat meow": "animal cat katze kitten kittens kitty leopard lion miaut purr tiger",
    "cow": "bear buffalo bull calf elephant kuh lion moose muht ox pig tiger whale",
    "sheep": "camel donkey goat lamb pig schaf ziege",
    "crow": "chicken cock duck goose hahn hen krähe magpie parrot pterodactyl quack raven rooster "
    "seagull turkey",
    "bird song": "bird birds blackbird budgie canary cuckoo finch nightingale parrot robin sparrow vogel "
    "vögel woodpecker",
    "owl": "cuckoo dove eule ghost pigeon wolf",
    "frog": "bullfrog cricket duck frosch toad",
    "crickets": "bee bees bug bugs cicada cicadas fly grasshopper grille insect insects mosquito",
    "horse hooves": "camel carriage donkey gallop galloping hoof horse pferd pony",
    "speech": "announcer chant choir conversation monk monologue radio rap singer singing speaking "
    "stimme talk voice whisper",
    "laughter": "chuckle clown giggle hyena lachen monkey",
    "baby cry": "crying infant schrei scream screaming shout sob toddler weeping yell",
    "whistling": "kettle pfeifen referee steam theremin whistle",
    "applause": "applaus clap claps crowd firework fireworks ovation popcorn",
    "cheering": "battle crowd fans football riot shout soccer stadium war yell",
    "footsteps": "boots heels march run schritte stairs step walk walking",
    "engine": "aeroplane aircraft airplane auto blender boat bus car chainsaw dishwasher fan "
    "generator jet lawnmower machine machinery motor motorbike motorcycle mower plane pump "
    "ship tractor traffic train truck vacuum van vehicle washing",
    "helicopter": "aeroplane aircraft airplane drone fan hubschrauber jet plane propeller rocket ufo",
    "car horn": "boat bus horn hupe klaxon ship taxi truck",
    "siren": "alarm alarms ambulance emergency firetruck police scream sirene",
    "alarm clock": "alarm beep beeper buzzer cash detector microwave register scanner smoke timer wecker",
    "church bell": "bell bells chime chimes glocke gong tower",
    "telephone": "cellphone doorbell mobile phone ringtone telefon",
    "keyboard typing": "button click clicking mouse printer tastatur typewriter typing",
    "drill": "blender bohrer chainsaw dentist grinder machine mixer razor sander saw shaver vacuum "
    "zipper",
    "clock ticking": "bomb clock metronome tick uhr watch",
    "hammer": "anvil axe blacksmith chisel construction hammer knock metal pickaxe sword",
    "hand saw": "brush sandpaper saw scissors scrape scratch scratching snore snoring säge zipper",
    "glass break": "bottle coin coins crystal dishes glas ice plate plates shatter vase",
    "door knock": "box creak creaking cupboard door drawer elevator gate klopfen knarrt slam slamming tür "
    "wood",
    "gunshot": "arrow balloon bow cannon crossbow firecracker firework fireworks gun pistol rifle "
    "schuss shotgun whip",
    "machine gun": "firework fireworks gun jackhammer popcorn rifle",
    "explosion": "avalanche bomb cannon earthquake explosion firework fireworks grenade rocket volcano",
    "laser": "arcade blaster game lightsaber phaser ray robot synth synthesizer zap",
    "spaceship": "alien didgeridoo drone hum portal robot rocket spacecraft synth synthesizer theremin "
    "ufo",
    "notification": "app beep button chime coin coins game magic message notification ping sms",
    "rain": "drizzle raindrops hail regen shower snow sprinkler storm thunderstorm",
    "thunder": "avalanche donner earthquake lightning rumble storm thunderstorm",
    "wind": "air blizzard breeze ghost hurricane snow storm tornado wind",
    "ocean waves": "beach boat dolphin harbour lake meer ocean sea shore wave whale",
    "stream": "bach bath brook bubbles creek faucet fluss fountain lake pouring rapids river shower "
    "splash swimming toilet water waterfall",
    "fire": "bacon bonfire campfire feuer fireplace flame flames frying match popcorn sizzle torch",
    "forest ambience": "forest garden jungle leaf leaves meadow nature paper park rustle rustling snake wald",
}  # fmt: skip
