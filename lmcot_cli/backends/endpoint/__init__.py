"""OpenAI-compatible endpoints: a hosted model, or one that vLLM, llama-server or Ollama serves.

`backend` is the door. Below it `dispatch` decides when which call is sent, by the bound on calls in flight
(`concurrency`), the limits per minute (`rates`) and the circuit breaker (`breaker`); `client` sends one call;
`dialect` writes its body, `reply` reads the answer, `faults` judges what went wrong; `cache` keeps replies.
"""
