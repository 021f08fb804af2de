"""Prints what dp-accounting (Google) says about the trainings that privacy/src/accountant.rs tests.

    python3 -m venv /tmp/dp && /tmp/dp/bin/pip install dp-accounting && /tmp/dp/bin/python privacy/tests/against_dp_accounting.py

`int` is ε over whole orders 2 to 256, 512 and 1024: what our accountant must print to nine decimals. `all` is ε over
the program's default orders, fractional ones included, and `PLD` the tight value; they may only be lower.
Exits with 1 if one of the figures kept here differs.
"""

import sys

import dp_accounting
from dp_accounting import pld, rdp

WHOLE_ORDERS = list(range(2, 257)) + [512, 1024]

# q, sigma, steps, delta, and the ε kept in the tests of accountant.rs
TRAININGS = [
    (0.04, 1.5, 2250, 1e-5, 7.329876774),
    (0.01, 4.0, 10000, 1e-5, 1.035490066),
    (0.01, 1.0, 1000, 1e-5, 2.107753075),
    (0.01, 1.1, 10000, 1e-5, 5.654308000),
    (256 / 60000, 1.1, 14062, 1e-5, 2.596981179),
    (0.05, 1.0, 200, 1e-5, 5.371115403),
    (0.05, 2.0, 2000, 1e-5, 5.966343249),
    (0.1, 2.0, 500, 1e-5, 6.089503111),
    (0.1, 1.0, 100, 1e-3, 5.670336417),
    (1.0, 10.0, 100, 1e-5, 4.752728337),
    (0.001, 0.8, 5000, 1e-6, 1.631586391),
    (0.5, 3.0, 50, 1e-4, 5.389638505),
]


def training(q, sigma, steps):
    gaussian = dp_accounting.GaussianDpEvent(sigma)
    step = gaussian if q == 1.0 else dp_accounting.PoissonSampledDpEvent(q, gaussian)
    return dp_accounting.SelfComposedDpEvent(step, steps)


def main():
    differ = 0
    print("       q  sigma  steps   delta           int  order            all        PLD")
    for q, sigma, steps, delta, kept in TRAININGS:
        event = training(q, sigma, steps)
        whole = rdp.RdpAccountant(WHOLE_ORDERS)
        whole.compose(event)
        epsilon, order = whole.get_epsilon_and_optimal_order(delta)
        default = rdp.RdpAccountant()
        default.compose(event)
        tight = pld.PLDAccountant()
        tight.compose(event)
        print(
            f"{q:8.5f} {sigma:6.2f} {steps:6d} {delta:7.0e} {epsilon:13.9f} {order:6.0f}"
            f" {default.get_epsilon(delta):14.9f} {tight.get_epsilon(delta):10.6f}"
        )
        differ += abs(epsilon - kept) > 5.1e-10
    print(f"{differ} of {len(TRAININGS)} differ from what is kept")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
