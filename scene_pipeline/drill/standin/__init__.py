"""A loopback stand-in for Fal: real host names and TLS behind a CONNECT proxy, and a money meter.

In a process:   with FalStandIn(directory) as fal:
                    FalProvider(fal.key, fal.tls_context(), fal.proxy_url)
As a program:   python -m scene_pipeline.drill.standin --directory DIR [--port P]
                prints one line of JSON and writes it to DIR/standin.json: the variables to set for
                the program under test, and where the meter is.

It speaks the queue protocol as Fal's pages and fal-client 1.0.3 do; `faults` names what it can be
told to do wrong. Nothing that is sent to it leaves the machine or costs anything.

Belongs here: the image service as its callers see it. Does not belong here: what callers must make
of it (`drill.scenarios`, the tests).
"""
