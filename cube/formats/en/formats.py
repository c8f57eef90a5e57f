"""How the console writes times: to the second, in an order that sorts. An audit trail cannot say "9 a.m."."""

DATE_FORMAT = "Y-m-d"
TIME_FORMAT = "H:i:s"
DATETIME_FORMAT = "Y-m-d H:i:s"
