"""OpenAI-compatible endpoints: a hosted model, or one that vLLM, llama-server or Ollama serves.

`backend` is the door. A request passes layers that wrap each other, from the outside in:

    Cached      looks it up in the reply cache, and keeps its reply
    Sharing     puts samples of one prompt into one call, and hands out what it brings
    Doubting    tells a refused key from a forbidden prompt
    Retrying    asks again for what failed, with pauses that grow
    Hedging     asks again beside a call that stays silent
    Gated       waits at the gate, writes the call in the endpoint's dialect, reads the reply
    Client      sends it, and reads the body within limits

`gate` is the one door to the endpoint: the bound on calls in flight (`concurrency`), the limits per minute (`rates`)
and the circuit breaker (`breaker`).
"""
