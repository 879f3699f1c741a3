"""A small grammar of requests to a voice assistant, seven intents in the manner of SNIPS."""

from __future__ import annotations

import random
import string

INTENTS: dict[str, tuple[str, ...]] = {
    " PlayMusic": (
        "play {song} by {artist}",
        "put on some {genre} {please}",
        "i want to hear {artist} on {service}",
        "play the {ordinal} track of the album {song}",
        "start a {genre} station {please}",
        "let me listen to {song}",
        "{polite} play something by {artist} from the {decade}",
        "turn on {genre} music for the {room}",
        "play me the soundtrack of {film}",
        "shuffle everything by {artist} on {service}",
    ),
    " GetWeather": (
        "will it {rain} in {city} {day}",
        "what is the forecast for {city} {day}",
        "how {warm} will it be in {city} {day}",
        "do i need an umbrella {day} in {city}",
        "{polite} tell me the temperature in {city}",
        "is it going to be {warm} {day}",
        "what will the sky look like over {city} {day}",
        "any chance it will {rain} near {city} {day}",
        "should i expect it to {rain} on my trip to {city}",
        "give me the humidity and wind for {city} {day}",
    ),
    " BookRestaurant": (
        "book a table for {number} at {place} in {city}",
        "reserve {number} seats for {meal} {day}",
        "i need a {cuisine} restaurant for {number} people {day}",
        "{polite} get us a table at {place} for {meal}",
        "find somewhere {cuisine} in {city} and reserve for {number}",
        "make a reservation for {number} at {place}",
        "we are {number} and want to eat {cuisine} food {day}",
        "can {number} of us have {meal} at {place} {day}",
        "my {relative} and i would like a {cuisine} place for {meal}",
        "get me a spot at a {cuisine} bar in {city} for {meal}",
    ),
    " RateBook": (
        "give {book} {stars} out of {scale}",
        "rate {book} {stars} stars",
        "i would give the book {book} a {stars}",
        "{polite} mark {book} as {stars} of {scale} points",
        "my rating for {book} is {stars}",
        "{book} deserves {stars} stars from me",
        "put {stars} points out of {scale} on the novel {book}",
        "this {textform} gets {stars} out of {scale}",
        "i rate the current {textform} {stars} points",
        "score the last {textform} i read with {stars} of {scale}",
    ),
    " AddToPlaylist": (
        "add {song} to my {list} playlist",
        "put {artist} on the list called {list}",
        "{polite} include this track in {list}",
        "add another song by {artist} to {list}",
        "i want {song} in my {list} list",
        "save this {genre} tune to the playlist {list}",
        "my {relative} wants {artist} in the {list} playlist",
        "drop {song} into {list} on {service}",
        "append the album {song} to my {list} songs",
        "place the current {genre} track onto {list}",
    ),
    " SearchCreativeWork": (
        "find the {work} called {title}",
        "show me the {work} {title}",
        "{polite} look for {title}",
        "where can i get the {work} {title}",
        "i am looking for a {work} named {title}",
        "search for the {work} {title} {please}",
        "can you find me the trailer of {title}",
        "what is there by the name of {title}, it is a {work}",
        "bring up {title}, the {work}",
        "open the page of the {work} {title}",
    ),
    " SearchScreeningEvent": (
        "when is {film} playing at {cinema}",
        "which films are shown at {cinema} {day}",
        "find showtimes for {film} {day}",
        "is {film} still in the cinemas in {city}",
        "{polite} show the movie schedule of {cinema}",
        "what time does {film} start {day}",
        "list the films in the neighbourhood {day}",
        "where can i see {film} on a big screen near {city}",
        "what animated movies are on at {cinema} {day}",
        "give me the movie times for {cinema} in {city}",
    ),
}

_TITLES = """silver lantern|the last harbour|night of the foxes|a house in the rain|paper kingdoms|
the glass orchard|seven winters|the clockmaker|beyond the dunes|letters to nobody|red river road|
the quiet engine|garden of salt|the thirteenth key|moonlit avenue|under the copper sky"""

SLOTS: dict[str, str] = {
    "song": """blue morning|hold the line again|fire on the hill|slow river|paper moon|golden hour|
        dancing alone|summer in april|empty streets|cold coffee|the long way home|one more mile""",
    "artist": """the velvet tigers|maria delgado|johnny stone|the night owls|ella brooks|dj comet|
        iron valley|sofia lund|the brass monkeys|leo carter|crystal waters band|nina okoye""",
    "genre": "jazz|blues|techno|country|classical|reggae|punk|folk|soul|metal|ambient|salsa",
    "service": "spotify|deezer|youtube|my phone|the radio app|itunes|last fm|pandora",
    "decade": "fifties|sixties|seventies|eighties|nineties|two thousands",
    "room": "kitchen|bedroom|party|garden|garage|living room|whole house",
    "ordinal": "first|second|third|fourth|fifth|sixth|seventh|last",
    "please": "please|right now|for me|if you can|quickly|again",
    "polite": "please|could you|can you|would you|hey,|i would like you to",
    "rain": "rain|snow|storm|hail|drizzle|freeze|get foggy|clear up",
    "warm": "warm|cold|hot|windy|humid|chilly|sunny|cloudy|mild|icy",
    "city": """lisbon|chicago|nairobi|oslo|kyoto|denver|madrid|cairo|boston|lima|vienna|mumbai|
        dublin|seattle|hanoi|toronto|athens|quito""",
    "day": """today|tomorrow|tonight|this weekend|on monday|on friday|next week|at noon|
        in three hours|on may 5|next sunday|this evening""",
    "number": "two|three|four|five|six|seven|eight|nine|ten",
    "place": """the blue door|casa luna|chez paul|the old mill|golden dragon|trattoria rosa|
        the corner grill|sakura house|the lighthouse|papa joe's""",
    "meal": "breakfast|brunch|lunch|dinner|supper|a late dinner|an early lunch",
    "cuisine": "thai|italian|greek|indian|mexican|vegan|french|korean|lebanese|seafood|spanish",
    "relative": "sister|brother|mother|father|cousin|uncle|wife|husband|friend|boss",
    "book": _TITLES,
    "stars": "zero|one|two|three|four|five|six",
    "scale": "five|six|ten",
    "textform": "novel|essay|chapter|textbook|saga|series|biography|chronicle|book|story",
    "list": """road trip|morning run|sunday chill|workout|deep focus|party hits|rainy days|
        old favourites|dinner with friends|study time|beach vibes""",
    "work": """tv show|painting|video game|photograph|song|novel|saga|album|poem|
        television series|picture|play""",
    "title": _TITLES,
    "film": _TITLES,
    "cinema": """the roxy|regal twelve|the odeon|city lights cinema|star plaza|the grand theatre|
        amc valley|lux palace|the drive in|cineworld north""",
}

_FILLERS = {name: [word.strip() for word in words.split("|")] for name, words in SLOTS.items()}


def utterance(rng: random.Random, intent: str) -> str:
    """One sentence with that intent."""
    template = rng.choice(INTENTS[intent])
    names = [name for _, name, _, _ in string.Formatter().parse(template) if name]
    return template.format(**{name: rng.choice(_FILLERS[name]) for name in names})
