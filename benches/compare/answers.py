"""Whether two engines gave the same rows: numbers up to a relative difference of a millionth, or to
the digits that the shorter one has, since averages and doubles are rounded differently; rows with
equal sort keys in any order."""

from decimal import Decimal, InvalidOperation

RELATIVE = 1e-6


def number(text):
    try:
        return float(Decimal(text))
    except (InvalidOperation, ValueError, OverflowError):
        return None


def last_digit(text):
    """One unit of the last digit after the point; nothing for whole numbers."""
    digits = text.partition(".")[2]
    return 10.0 ** -len(digits) if digits.isdigit() else 0.0


def same_value(left, right):
    if left == right:
        return True
    a, b = number(left), number(right)
    if a is None or b is None:
        return left.replace(" 00:00:00", "") == right.replace(" 00:00:00", "")
    # A little more than a unit: doubles have no 0.000001.
    rounding = 1.000001 * max(last_digit(left), last_digit(right))
    return abs(a - b) <= max(RELATIVE * max(abs(a), abs(b)), rounding)


def same_row(left, right):
    return len(left) == len(right) and all(map(same_value, left, right))


def key(row):
    """Rows of two engines that are the same come to the same place under this order."""
    return [f"{number(v):.4e}" if number(v) is not None else v for v in row]


def same(left, right):
    """None, or what differs."""
    if len(left) != len(right):
        return f"{len(left)} and {len(right)} rows"
    if all(map(same_row, left, right)):
        return None
    pairs = list(zip(sorted(left, key=key), sorted(right, key=key)))
    wrong = [pair for pair in pairs if not same_row(*pair)]
    if not wrong:
        return None
    return f"{len(wrong)} of {len(left)} rows, first {wrong[0][0]} and {wrong[0][1]}"
