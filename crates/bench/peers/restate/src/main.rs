//! The three steps of an order as a program for Restate: reserve, authorise, confirm. Each is a call to an object of the order's that
//! remembers it, so each is in Restate's journal before the next begins. It listens at the address that is its argument.

use restate_sdk::prelude::*;

struct Orders;
struct Inventory;
struct Payments;
struct OrderState;

#[restate_sdk::service]
impl Orders {
    #[handler]
    async fn place(&self, ctx: Context<'_>, id: String) -> Result<String, HandlerError> {
        ctx.object_client::<InventoryClient>(id.clone()).reserve(id.clone()).call().await?;
        ctx.object_client::<PaymentsClient>(id.clone()).authorise(id.clone()).call().await?;
        ctx.object_client::<OrderStateClient>(id.clone()).confirm(id).call().await?;
        Ok("confirmed".to_owned())
    }
}

#[restate_sdk::object]
impl Inventory {
    #[handler]
    async fn reserve(&self, ctx: ObjectContext<'_>, id: String) -> Result<String, HandlerError> {
        ctx.set("reserved", id);
        Ok("reserved".to_owned())
    }
}

#[restate_sdk::object]
impl Payments {
    #[handler]
    async fn authorise(&self, ctx: ObjectContext<'_>, id: String) -> Result<String, HandlerError> {
        ctx.set("authorised", id);
        Ok("authorised".to_owned())
    }
}

#[restate_sdk::object]
impl OrderState {
    #[handler]
    async fn confirm(&self, ctx: ObjectContext<'_>, id: String) -> Result<String, HandlerError> {
        ctx.set("state", id);
        Ok("confirmed".to_owned())
    }
}

#[tokio::main]
async fn main() -> Result<(), std::net::AddrParseError> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9080".to_owned()).parse()?;
    let endpoint = Endpoint::builder().bind(Orders).bind(Inventory).bind(Payments).bind(OrderState).build();
    HttpServer::new(endpoint).listen_and_serve(address).await;
    Ok(())
}
