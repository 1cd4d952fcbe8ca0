"""The pictures of the offline provider: imaginary landscapes, drawn with Pillow alone.

Belongs here: words in, pixels out; every choice from the prompt and the seed, none from the clock,
the process or the machine. Does not belong here: the provider's protocol (`providers.offline`).

    canvas     the sheet and the masks
    mood       which place, hour, weather and figures the words name, and their colours
    backdrop   sky, stars, sun or moon, clouds
    ground     ridges, mist, swell: what several places share
    built      city, room
    terrain    the place's ground: sea, forest, and the choice among them
    figures    silhouettes: lighthouse, ship, house, person, ...
    finish     rain, snow, fog, vignette, grain
    painter    puts them together
"""
