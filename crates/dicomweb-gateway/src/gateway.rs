//! A gateway, as its owner sees it.

use std::{fmt, sync::Arc};

use google_credentials::{KeptAlive, World};
use tokio::net::TcpListener;

use crate::{
    instance_format::InstanceFormats,
    memory::Memory,
    places::Places,
    server,
    settings::Settings,
    store::Store,
    stow::{Overwriting, Remembered},
    transfers::{Counts, Report, Transfers},
    trouble::Troubles,
};

/// The way to the DICOM stores of some accounts.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) world: Arc<dyn World>,
    pub(crate) client: KeptAlive,
    pub(crate) memory: Memory,
    pub(crate) transfers: Arc<Transfers>,
    pub(crate) troubles: Troubles,
    pub(crate) remembered: Remembered,
    pub(crate) overwriting: Overwriting,
    pub(crate) places: Arc<Places>,
    pub(crate) instance_formats: InstanceFormats,
    pub(crate) stores: Vec<Store>,
}

impl Shared {
    /// Random bytes, for the boundary of a multipart body.
    pub(crate) fn dice(&self) -> [u8; 16] {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in 0.0..256.0")]
        std::array::from_fn(|_| (self.world.dice() * 256.0) as u8)
    }
}

impl Gateway {
    /// A gateway to `stores` that is not served yet. `world` gives it clock and dice.
    pub fn new(settings: Settings, world: Arc<dyn World>, stores: Vec<Store>) -> Self {
        let client = KeptAlive::new(settings.http.clone(), settings.http_version);
        let memory = Memory::new(settings.memory);
        let transfers = Arc::new(Transfers::new(Arc::clone(&world)));
        let troubles = Troubles::default();
        let (remembered, overwriting) = (Remembered::default(), Overwriting::default());
        Self {
            shared: Arc::new(Shared {
                settings,
                world,
                client,
                memory,
                transfers,
                troubles,
                remembered,
                overwriting,
                places: Arc::default(),
                instance_formats: InstanceFormats::default(),
                stores,
            }),
        }
    }

    /// Serves whoever connects to `listener`, until `stop` is ready. Then nobody else is let in, and it returns when the
    /// last request is answered. Dropped, it ends everything at once.
    pub async fn serve(&self, listener: TcpListener, stop: impl Future<Output = ()>) {
        server::serve(&self.shared, listener, stop).await;
    }

    /// The transfers under way, then the last hundred that ended, each newest first.
    pub fn transfers(&self) -> Vec<Report> {
        self.shared.transfers.reports()
    }

    /// What was done since the start.
    pub fn counts(&self) -> Counts {
        Counts { connections_refused: self.shared.places.refused(), ..self.shared.transfers.totals.counts() }
    }

    /// How many transfers are under way.
    pub fn transfers_under_way(&self) -> usize {
        self.shared.transfers.under_way()
    }

    /// Bytes of instances held in memory now.
    pub fn memory_in_use(&self) -> usize {
        self.shared.memory.in_use()
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("stores", &self.shared.stores).finish_non_exhaustive()
    }
}
