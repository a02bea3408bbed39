-- Flights that left New York in 2013: who is late, who catches up, and what the weather has to do
-- with it. Run from the root of the repository:  gristmill run data/delays.sql

-- Which airlines make up in the air what they lost at the gate, and which lose even more?
SELECT
    a.name AS airline,
    f.origin,
    count(*) AS flights,
    CAST(avg(f.dep_delay) AS DECIMAL(6, 1)) AS late_at_departure,
    CAST(avg(f.arr_delay) AS DECIMAL(6, 1)) AS late_at_arrival,
    CAST(avg(f.dep_delay - f.arr_delay) AS DECIMAL(6, 1)) AS minutes_made_up
FROM 'data/flights.parquet' AS f
JOIN 'data/airlines.csv' AS a ON f.carrier = a.carrier
WHERE f.arr_delay IS NOT NULL
GROUP BY a.name, f.origin
HAVING count(*) >= 1000
ORDER BY minutes_made_up DESC, flights DESC
LIMIT 12;

-- The less a pilot sees, the later the flight: departures by visibility (miles) at the airport in
-- the hour of the flight.
SELECT
    w.visib AS visibility,
    count(*) AS flights,
    count(f.dep_time) AS departed,
    CAST(avg(f.dep_delay) AS DECIMAL(6, 1)) AS minutes_late,
    max(f.dep_delay) AS latest
FROM 'data/flights.parquet' AS f
JOIN 'data/weather.csv' AS w ON f.origin = w.origin AND f.time_hour = w.time_hour
GROUP BY w.visib
HAVING count(*) >= 500
ORDER BY w.visib;
