import warnings, math, time
import numpy as np
from fractions import Fraction
from dataclasses import replace
from theory_checks.engine.rows import excess, tightness
from theory_checks.engine.judges import *
from theory_checks.engine.runner import verify
from theory_checks.offline import hyq as T
from algorithms.offline import hyq
print(excess({"measured": math.inf, "bound":0.0,"slack":math.inf}), excess({"measured":1.0,"bound":0.0,"slack":math.nan}), excess({"measured":Fraction(1,3),"bound":1/3}), excess({"measured":Fraction(1,3),"bound":math.nan}))
C={c.claim.id:c for c in T.CHECKS}
t=time.perf_counter()
def inf_transfer(access, policy, nu, phi=None): return math.inf
v=verify(C["C2"], inf_transfer); print(v, time.perf_counter()-t)
def nan_transfer(access, policy, nu, phi=None): return math.nan
print(verify(C["C2"], nan_transfer))
print(verify(C["C2-tight"], inf_transfer))
import sys
def exits(P,r,rho,f,pi_e): sys.exit(3)
try: print(verify(C["C1"], exits))
except BaseException as e: print("C1 exit:", type(e), e)
def mem(P,r,rho,f,pi_e): raise MemoryError
try: print(verify(C["C1"], mem))
except BaseException as e: print("C1 mem:", type(e), e)
def harmless(P,r,rho,f,pi_e): return hyq.decomposition(P,r,rho,f,pi_e)
# hand-made measure
def other(world, subject, rng): return {"measured": 1.0, "bound": 0.0}
print("hand-made measure, always violated:", verify(replace(C["C1"], measure=other), engine=None))
def bad(world, subject, rng): return {"measured": {1,2}, "bound": 0.0}
try: print(verify(replace(C["C1"], measure=bad), harmless))
except BaseException as e: print("encode:", type(e), e)
