//! Functions of ours that the front end knows by name. The adapters that let the engine call
//! DataFusion's are in `lower`.
//!
//! * `declared`: aggregates, and `adjusted` ones; `product`: product(); `grouping`: grouping();
//!   `counts`: counts with a sign.
//! * `date_bin`, `date_trunc`, `now`, `to_timestamp`: functions of moments, in place of the
//!   borrowed ones; `timezone`: what clocks show; `seconds`: timestamps as numbers; `several`: an
//!   interval several times, or a part of it; `interval_order`: the lengths of intervals;
//!   `age`: age(); `last_day`: last_day(); `formatted`: texts of moments in forms, and to_date();
//!   `epochs`: epoch_ms() and its kin.
//! * `coarser`: timestamps that lose digits of their seconds.
//! * `common_type`: what values of several types are cast to where they meet.
//! * `named_cast`: casts with names of their own; `opaque`: marks around expressions that borrowed
//!   rules must not look into.
//! * `positions`: those of elements in lists.
//! * `series`: functions whose calls are not folded, `stamps`: those of timestamps; `sizes`: bytes
//!   of what functions make; `window`: window functions.
//! * `list_nulls`: what functions of lists make of NULLs; `identical_intervals`: elements that are
//!   equally long; `list_text`: lists, structures and maps as texts; `each`: calls with constants
//!   and others.
//! * `list_search`: values in lists, `search`: how they are found; `list_element`: elements by
//!   their index; `list_sort`: elements in order, `list_extreme`: the first and last of them;
//!   `greatest` and `list_order`: lists in order; `list_sum`: sums of elements;
//!   `list_append`: one more element; `list_sets`: lists in others; `list_where`: some of their
//!   elements; `with_texts`: texts among these.
//! * `lambdas`: functions of lists that take a lambda; `maps`: keys of maps; `part`: parts of
//!   structures.
//! * `formats`: format() and printf(); `type_of`: typeof(); `version`: version().
//! * `divisor`: what decimals are divided by; `digests`: md5() and sha256(); `length`: length();
//!   `substring`: substr(); `text_position`: strpos(); `text_split`: string_split();
//!   `levenshtein`: levenshtein(); `sign`: sign() and bit_count(); `bits`: operators of bits;
//!   `operations`: what functions in place of operators are called; `to_whole`: numbers that become
//!   integers; `whole_part`: ceil(), floor() and trunc(); `finite`: isfinite() and isinf();
//!   `hex`: hex(); `equals_any`: `= ANY` of a list; `null_if`: nullif(); `regexp`: what patterns
//!   find in texts.
//! * `user`: functions of the program's own.
//! * `as_borrowed`: what functions that stand before borrowed ones say as they do.

#[macro_use]
mod as_borrowed;

mod adjusted;
mod age;
mod bits;
mod coarser;
mod common_type;
mod counts;
mod date_bin;
mod date_trunc;
mod declared;
mod digests;
mod divisor;
mod each;
mod epochs;
mod equals_any;
mod finite;
mod formats;
mod formatted;
mod greatest;
mod grouping;
mod hex;
mod identical_intervals;
mod interval_order;
mod lambdas;
mod last_day;
mod length;
mod levenshtein;
mod list_append;
mod list_element;
mod list_extreme;
mod list_nulls;
mod list_order;
mod list_search;
mod list_sets;
mod list_sort;
mod list_sum;
mod list_text;
mod list_where;
mod maps;
mod named_cast;
mod now;
mod null_if;
mod opaque;
mod operations;
mod part;
mod positions;
mod product;
mod regexp;
mod search;
mod seconds;
mod series;
mod several;
mod sign;
mod sizes;
mod stamps;
mod substring;
mod text_position;
mod text_split;
mod timezone;
mod to_timestamp;
mod to_whole;
mod type_of;
mod user;
mod version;
mod whole_part;
mod window;
mod with_texts;

use std::sync::Arc;

use datafusion_expr::{AggregateUDF, ScalarUDF};

pub(crate) use adjusted::adjusted;
pub(crate) use bits::{TOTAL_OF_BITS, is_of_bits, of_bits};
pub(crate) use coarser::{coarser, finer_unit};
pub(crate) use common_type::{Meeting, common_type, targets};
use declared::declared_aggregates;
pub(crate) use declared::{Declared, declared};
pub(crate) use divisor::divide_exact;
pub(crate) use equals_any::EQUALS_ANY;
pub(crate) use grouping::grouping_bits;
pub(crate) use interval_order::{
    DRAWN_AGAIN, MEASURED_VALUE, has_interval, interval_order, with_interval_order,
};
pub(crate) use lambdas::{
    OfElements, lambda_arguments, lambda_function, lambda_functions, with_arguments, with_types,
};
pub(crate) use list_append::list_append;
pub(crate) use list_element::element;
pub(crate) use list_nulls::strict;
pub(crate) use list_order::{list_operator, list_order};
pub(crate) use list_text::list_text;
pub(crate) use maps::{key_type, values_of_key};
pub(crate) use named_cast::NAMED_CAST;
pub(crate) use opaque::{apart, in_place, is_opaque, kept, meant, three_valued};
pub(crate) use operations::{named_operation, shown_operation};
pub(crate) use part::{Parts, with_spelled_parts};
pub(crate) use positions::positions;
pub(crate) use regexp::{GLOB_REGEX, regex_of};
pub(crate) use seconds::{counted, from_seconds, seconds_type, to_seconds};
use series::unfolded;
pub(crate) use series::{called, is_random, is_random_call, series_of};
pub(crate) use several::{SEVERAL, divided, times};
pub(crate) use sizes::{result_bytes, writes_constants};
pub(crate) use substring::SubstringPlanner;
pub(crate) use text_position::PositionPlanner;
pub(crate) use timezone::{UTC, is_utc};
pub(crate) use to_whole::{is_whole, to_nearest, to_whole, whole_type};
pub use user::{
    Accumulator, AggregateDef, AggregateFunction, Arguments, GroupStates, ScalarDef, ScalarFunction,
};
pub(crate) use user::{BoundAggregate, BoundScalar};
pub(crate) use window::{CountWindowPlanner, WINDOW_FUNCTIONS, window_function};

/// Functions that are not among the borrowed ones.
pub(crate) fn added() -> Vec<Arc<ScalarUDF>> {
    let timezone = Arc::new(ScalarUDF::from(timezone::Timezone::new()));
    let digests = digests::digests().map(Arc::new);
    let named_cast = Arc::new(named_cast::named_cast());
    let others = [
        timezone,
        named_cast,
        equals_any::equals_any(),
        length::length_function(),
        several::several(),
        age::age(),
        last_day::last_day(),
        type_of::type_of(),
        version::version(),
        sign::sign(),
        sign::bit_count(),
        hex::hex(),
        list_where::list_where(),
    ];
    let others = others.into_iter().chain(epochs::epochs()).chain(finite::finite());
    let formats = formats::formats();
    digests.chain(regexp::regexp_functions()).chain(others).chain(formats).collect()
}

/// Aggregates that are not among the borrowed ones.
pub(crate) fn added_aggregates() -> impl Iterator<Item = AggregateUDF> {
    declared_aggregates().into_iter().chain(product::product())
}

/// The function that a name of a borrowed one stands for.
pub(crate) fn ours(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    match borrowed.name() {
        "date_bin" => Arc::new(ScalarUDF::from(date_bin::DateBin::new(borrowed))),
        "date_trunc" => Arc::new(ScalarUDF::from(date_trunc::DateTrunc::new(borrowed))),
        "to_date" => formatted::to_date(borrowed),
        "to_timestamp" => Arc::new(ScalarUDF::from(to_timestamp::ToTimestamp::new(borrowed))),
        "ceil" | "floor" | "trunc" => whole_part::whole_part(borrowed),
        "nullif" => null_if::null_if(borrowed),
        "now" => Arc::new(ScalarUDF::from(now::Now::new(borrowed.aliases()))),
        "get_field" => part::part(borrowed),
        "greatest" => with_texts::with_texts(greatest::greatest(borrowed)),
        "least" => with_texts::with_texts(greatest::least(borrowed)),
        "array_max" | "array_min" => list_extreme::list_extreme(borrowed),
        "array_sort" => list_sort::list_sort(borrowed),
        "string_to_array" => text_split::text_split(borrowed),
        "strpos" => text_position::text_position(borrowed),
        "levenshtein" => levenshtein::levenshtein(borrowed),
        "substr" => substring::substring(borrowed),
        "array_sum" => list_sum::list_sum(borrowed),
        "array_element" => list_element::list_element(borrowed),
        "array_append" | "array_prepend" => list_append(borrowed),
        "coalesce" | "make_array" => with_texts::with_texts(borrowed),
        "map" => maps::map_of(borrowed),
        "map_extract" => maps::map_element(borrowed),
        _ => list_search::list_search(&borrowed)
            .or_else(|| counts::counts(&borrowed))
            .unwrap_or_else(|| unfolded(list_nulls::of_sets(borrowed))),
    }
}
