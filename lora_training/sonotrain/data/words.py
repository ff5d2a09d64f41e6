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
