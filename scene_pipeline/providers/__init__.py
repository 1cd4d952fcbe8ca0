"""Image providers behind one Protocol (`base.ImageProvider`), and their prices.

Belongs here: speaking one service's protocol and translating its errors.
Does not belong here: loops, retries, storage, money already spent; the pipeline does those.

"""
