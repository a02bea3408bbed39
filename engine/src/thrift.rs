//! Thrift's compact protocol, in which Parquet files say what is in them.
//!
//! What is read is untrusted: every read is checked, nesting is bounded, and nothing is allocated
//! by a length that the input does not have.

/// Why bytes could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// They end too early: more bytes may help.
    Short,
    /// They are no Thrift structure of the kind expected.
    Malformed,
}

pub(crate) type Read<T> = Result<T, Fault>;

/// Nesting of structures deeper than this is no Parquet.
const DEPTH_MAX: usize = 16;

const TYPE_STOP: u8 = 0;
pub(crate) const TYPE_TRUE: u8 = 1;
pub(crate) const TYPE_FALSE: u8 = 2;
const TYPE_BYTE: u8 = 3;
const TYPE_I16: u8 = 4;
pub(crate) const TYPE_I32: u8 = 5;
pub(crate) const TYPE_I64: u8 = 6;
const TYPE_DOUBLE: u8 = 7;
const TYPE_BINARY: u8 = 8;
pub(crate) const TYPE_LIST: u8 = 9;
const TYPE_SET: u8 = 10;
const TYPE_MAP: u8 = 11;
pub(crate) const TYPE_STRUCT: u8 = 12;

/// From so many elements on the length of a list stands behind its head.
const LONG_LIST: usize = 15;

/// Goes through the fields of one structure.
#[derive(Default)]
pub(crate) struct Fields {
    last: i16,
}

impl Fields {
    /// Number and type of the next field; `None` at the end of the structure.
    pub fn next(&mut self, input: &mut Compact<'_>) -> Read<Option<(i16, u8)>> {
        let head = input.byte()?;
        let (delta, field) = (head >> 4, head & 0x0f);
        if field == TYPE_STOP {
            return Ok(None);
        }
        self.last = match delta {
            0 => i16::try_from(input.integer()?).map_err(|_| Fault::Malformed)?,
            delta => self.last.checked_add(i16::from(delta)).ok_or(Fault::Malformed)?,
        };
        Ok(Some((self.last, field)))
    }
}

/// Bytes that are read from front to back.
pub(crate) struct Compact<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Compact<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Compact { bytes, position: 0 }
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.position
    }

    pub fn byte(&mut self) -> Read<u8> {
        let byte = *self.bytes.get(self.position).ok_or(Fault::Short)?;
        self.position += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Read<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Fault::Malformed)
    }

    /// A signed integer of any width.
    pub fn integer(&mut self) -> Read<i64> {
        let zigzag = self.varint()?;
        Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    /// A 32-bit integer that must not be negative.
    pub fn length(&mut self) -> Read<u32> {
        let value = i32::try_from(self.integer()?).ok();
        value.and_then(|v| u32::try_from(v).ok()).ok_or(Fault::Malformed)
    }

    fn binary(&mut self) -> Read<&'a [u8]> {
        let length = usize::try_from(self.varint()?).map_err(|_| Fault::Malformed)?;
        let end = self.position.checked_add(length).ok_or(Fault::Malformed)?;
        let bytes = self.bytes.get(self.position..end).ok_or(Fault::Short)?;
        self.position = end;
        Ok(bytes)
    }

    /// A list of strings of bytes.
    pub fn binaries(&mut self) -> Read<Vec<&'a [u8]>> {
        let length = self.list(TYPE_BINARY)?;
        (0..length).map(|_| self.binary()).collect()
    }

    /// The length of a list whose elements must be of type `element`.
    pub fn list(&mut self, element: u8) -> Read<usize> {
        self.list_of(&[element])
    }

    /// The same, when elements may have one of several types.
    pub fn list_of(&mut self, elements: &[u8]) -> Read<usize> {
        let (length, element) = self.list_head()?;
        if length > 0 && !elements.contains(&element) {
            return Err(Fault::Malformed);
        }
        // Every element takes a byte at least.
        if length > self.bytes.len() - self.position { Err(Fault::Short) } else { Ok(length) }
    }

    fn list_head(&mut self) -> Read<(usize, u8)> {
        let head = self.byte()?;
        let length = match head >> 4 {
            15 => usize::try_from(self.varint()?).map_err(|_| Fault::Malformed)?,
            short => usize::from(short),
        };
        Ok((length, head & 0x0f))
    }

    /// Passes over a value of type `field`.
    pub fn skip(&mut self, field: u8) -> Read<()> {
        self.skip_within(field, 0)
    }

    fn skip_within(&mut self, field: u8, depth: usize) -> Read<()> {
        if depth > DEPTH_MAX {
            return Err(Fault::Malformed);
        }
        match field {
            TYPE_TRUE | TYPE_FALSE => {}
            TYPE_BYTE => drop(self.byte()?),
            TYPE_I16 | TYPE_I32 | TYPE_I64 => drop(self.varint()?),
            TYPE_DOUBLE => {
                if self.bytes.len() - self.position < 8 {
                    return Err(Fault::Short);
                }
                self.position += 8;
            }
            TYPE_BINARY => drop(self.binary()?),
            TYPE_LIST | TYPE_SET => {
                let (length, element) = self.list_head()?;
                self.skip_elements(length, &[element], depth)?;
            }
            TYPE_MAP => {
                let length = usize::try_from(self.varint()?).map_err(|_| Fault::Malformed)?;
                if length > 0 {
                    let types = self.byte()?;
                    self.skip_elements(length, &[types >> 4, types & 0x0f], depth)?;
                }
            }
            TYPE_STRUCT => {
                let mut fields = Fields::default();
                while let Some((_, field)) = fields.next(self)? {
                    self.skip_within(field, depth + 1)?;
                }
            }
            _ => return Err(Fault::Malformed),
        }
        Ok(())
    }

    fn skip_elements(&mut self, length: usize, types: &[u8], depth: usize) -> Read<()> {
        for _ in 0..length {
            for &element in types {
                match element {
                    // In a list a Boolean takes a byte of its own.
                    TYPE_TRUE | TYPE_FALSE => drop(self.byte()?),
                    other => self.skip_within(other, depth + 1)?,
                }
            }
        }
        Ok(())
    }
}

/// Appends the fields of one structure to bytes.
pub(crate) struct FieldWriter<'a> {
    out: &'a mut Vec<u8>,
    last: i16,
}

impl<'a> FieldWriter<'a> {
    /// Goes on behind field `last`; 0 before the first.
    pub fn after(last: i16, out: &'a mut Vec<u8>) -> Self {
        FieldWriter { out, last }
    }

    /// A field of 32 bits.
    pub fn i32(&mut self, id: i16, value: i32) {
        self.head(id, TYPE_I32);
        write_integer(value.into(), self.out);
    }

    /// A field of 64 bits.
    pub fn i64(&mut self, id: i16, value: i64) {
        self.head(id, TYPE_I64);
        write_integer(value, self.out);
    }

    /// A field that is a list; its elements, of type `element`, are to be appended behind it.
    pub fn list(&mut self, id: i16, element: u8, length: usize) {
        self.head(id, TYPE_LIST);
        match length < LONG_LIST {
            true => self.out.push((length as u8) << 4 | element),
            false => {
                self.out.push((LONG_LIST as u8) << 4 | element);
                write_varint(length as u64, self.out);
            }
        }
    }

    /// The end of the structure.
    pub fn stop(self) {
        self.out.push(TYPE_STOP);
    }

    fn head(&mut self, id: i16, field: u8) {
        match u8::try_from(id - self.last) {
            Ok(delta @ 1..=15) => self.out.push(delta << 4 | field),
            _ => {
                self.out.push(field);
                write_integer(id.into(), self.out);
            }
        }
        self.last = id;
    }
}

fn write_integer(value: i64, out: &mut Vec<u8>) {
    write_varint((value << 1 ^ value >> 63) as u64, out);
}

/// Appends seven bits a byte, the lowest first.
pub(crate) fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_passed_over() {
        let mut bytes = Vec::new();
        let mut fields = FieldWriter::after(0, &mut bytes);
        fields.i32(1, -5);
        fields.i64(3, i64::MIN);
        fields.i64(300, 1 << 40);
        fields.list(301, TYPE_I64, 2);
        [7, -7].iter().for_each(|value| write_integer(*value, &mut bytes));
        let mut fields = FieldWriter::after(301, &mut bytes);
        fields.list(302, TYPE_STRUCT, 20);
        bytes.extend_from_slice(&[TYPE_STOP; 20]);
        FieldWriter::after(302, &mut bytes).stop();

        let (mut input, mut fields) = (Compact::new(&bytes), Fields::default());
        assert_eq!(fields.next(&mut input), Ok(Some((1, TYPE_I32))));
        assert_eq!(input.integer(), Ok(-5));
        assert_eq!(fields.next(&mut input), Ok(Some((3, TYPE_I64))));
        assert_eq!(input.integer(), Ok(i64::MIN));
        assert_eq!(fields.next(&mut input), Ok(Some((300, TYPE_I64))));
        assert_eq!(input.integer(), Ok(1 << 40));
        assert_eq!(fields.next(&mut input), Ok(Some((301, TYPE_LIST))));
        assert_eq!(input.list(TYPE_I64), Ok(2));
        assert_eq!((input.integer(), input.integer()), (Ok(7), Ok(-7)));
        assert_eq!(fields.next(&mut input), Ok(Some((302, TYPE_LIST))));
        assert_eq!(input.list(TYPE_STRUCT), Ok(20));

        let mut whole = Compact::new(&bytes);
        assert_eq!(whole.skip(TYPE_STRUCT), Ok(()));
        assert_eq!(whole.position(), bytes.len());
        for cut in 0..bytes.len() {
            assert_eq!(Compact::new(&bytes[..cut]).skip(TYPE_STRUCT), Err(Fault::Short), "{cut}");
        }
    }
}
