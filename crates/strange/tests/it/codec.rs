//! Every type through the kit's codec.

use farandole_outbox::{Codec, Message as _};

include!(concat!(env!("OUT_DIR"), "/messages.rs"));

#[test]
fn every_type_goes_through_the_kits_codec() {
    let (codec, json_codec) = (Codec::offline(Every::TYPES), Codec::json());
    let mut values = 0;
    for (index, ty) in Every::TYPES.iter().enumerate() {
        for made in farandole_build::testing::samples(ty.schema).unwrap() {
            let value = of_json(index, made.json.clone());
            let bytes = value.encode(&codec).unwrap();
            // Behind the frame that says which schema it is.
            assert_eq!(bytes[5..], made.avro, "{} {}", ty.name, made.json);
            assert_eq!(Every::decode(index, &codec, &bytes).unwrap(), value, "{}", ty.name);
            let json = value.encode(&json_codec).unwrap();
            assert_eq!(serde_json::from_slice::<serde_json::Value>(&json).unwrap(), made.json, "{}", ty.name);
            assert_eq!(Every::decode(index, &json_codec, &json).unwrap(), value, "{}", ty.name);
            values += 1;
        }
    }
    assert!(values > 500, "{values} values");
}
