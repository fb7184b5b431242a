"""One module for each target. `fuzz_one(data)` raises whatever is not the documented answer to `data`.

A target may have `seeds()`, inputs beside those in the corpus, `still_works()`, which is called now and then, and
`close()`.
"""
