"""How many examples properties are tried with here."""

from tests.support.examples import load_profile

load_profile()
